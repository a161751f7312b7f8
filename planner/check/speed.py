"""How fast the servers of a plan are, recomputed beside those on the same GPUs, and whether that is fast enough."""

from collections.abc import Iterator

from planner.check.servers import Recomputed
from planner.check.violation import Violation, differing
from planner.facts.gpu import GPU
from planner.fleet import Role
from planner.memory.terms import Server
from planner.options.speed import kept_up_milli, speed_of, too_slow
from planner.plan import busy_permille, server_speed
from planner.plan.lookup import lookup
from planner.speed.forecast import Forecast
from planner.tensors.identity import Same


def check_speed(facts: Recomputed) -> Iterator[Violation]:
    """Every server is as fast as the plan says, and each role as its requirements say."""
    roles = {role.name: role.busy_permille for role in facts.fleet.roles}
    there = lookup(facts.plan.servers)
    for role in facts.fleet.roles:
        known: dict[tuple[Same[Server], Same[GPU], int, int], Forecast | None] = {}
        kept_up, served = 0, False
        for server in facts.plan.servers:
            if server.role != role.name:
                continue
            beside = [one for one in there.beside(server) if not facts.fleet.excludes(role.name, one.role)]
            busy = busy_permille(server, beside, roles)
            made, gpu, nodes = facts.server(server), facts.gpu(server), len(server.nodes)
            key = Same(made), Same(gpu), busy, nodes
            if key not in known:
                known[key] = speed_of(role, made, gpu, facts.profile, facts.catalog.speed, busy, nodes)
            found = known[key]
            exact = server_speed(found, busy)
            if server.speed != exact:
                yield Violation(server.name, f"the speed is wrong: {differing(server.speed, exact)}")
            if found:
                yield from _limits(facts, role, server.name, found)
                kept_up, served = kept_up + kept_up_milli(role, found), True
        if served and role.rate_milli is not None and kept_up < role.rate_milli:
            yield Violation(role.name, f"keeps up with {kept_up / 1000:g} requests/s of {role.rate_milli / 1000:g}")


def _limits(facts: Recomputed, role: Role, name: str, found: Forecast) -> Iterator[Violation]:
    if found.reason is not None and role.wants_speed:
        yield Violation(name, f"nothing is known of its speed, which the role wants: {found.reason}")
    elif found.reason is None and (what := too_slow(role, found, facts.catalog.speed.engine)):
        yield Violation(name, f"is slower than speed.{what}")
