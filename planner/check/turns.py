"""Roles that take turns: who may be awake together, what sleepers keep, and what each GPU holds at the worst moment."""

from collections.abc import Iterator

from planner.check.servers import Recomputed
from planner.check.violation import Violation, differing
from planner.fleet import STOP, Fleet
from planner.plan import GPULedger, Plan, asleep_of, awake_sets
from planner.plan.lookup import lookup


def as_planned(fleet: Fleet, plan: Plan) -> Fleet:
    """Return the fleet with what the plan's roles do between their turns, where the fleet leaves that open."""
    if not fleet.time_share or fleet.between_turns:
        return fleet
    return fleet.settled(next((server.asleep.how for server in plan.servers if server.asleep), STOP))


def check_turns(facts: Recomputed) -> Iterator[Violation]:
    """Check groups and sets, what every server keeps asleep, and the memory of the machine."""
    plan, fleet = facts.plan, facts.fleet
    if plan.time_share != fleet.time_share:
        yield Violation("time share", "is not that of the fleet")
    served = {server.role for server in plan.servers}
    expected = awake_sets(fleet.time_share, served) if fleet.time_share else ()
    if plan.awake_sets != expected:
        yield Violation("awake sets", f"are wrong: {differing(plan.awake_sets, expected)}")
    for server in plan.servers:
        role, gpu = fleet.role(server.role), facts.gpu(server)
        found = asleep_of(fleet, role, facts.server(server), gpu, facts.profile, server.ledger.weights_bytes)
        if server.asleep != found:
            yield Violation(server.name, f"what it keeps between its turns is wrong: {differing(server.asleep, found)}")
    if fleet.host_memory_bytes is not None and plan.host_bytes > fleet.host_memory_bytes:
        yield Violation("host memory", f"sleeping roles keep {plan.host_bytes} of {fleet.host_memory_bytes} bytes")


def largest_awake(plan: Plan, gpu: GPULedger, without: str = "") -> int:
    """Return what the servers of a GPU take at most: the worst of all sets, with the others asleep.

    Of one ``without`` which it is asked, only the sets are looked at in which it is awake, and it is not counted.
    """
    servers = lookup(plan.servers).by_gpu.get((gpu.node, gpu.index), ())
    own = plan.server(without).role if without else ""
    sets = [set(roles) for roles in plan.awake_sets] or [{server.role for server in servers}]
    totals = []
    for awake in sets:
        if without and own not in awake:
            continue
        taken = 0
        for server in servers:
            if server.name != without:
                asleep = server.asleep.gpu_bytes if server.asleep else server.ledger.total_bytes
                taken += server.ledger.total_bytes if server.role in awake else asleep
        totals.append(taken)
    return max(totals, default=0)
