"""Moves, followed step by step: room for every start, no role below its minimum but where they say so, and the end.

Nothing is taken from the moves but the steps and what they claim: memory, ports, rules and minima are those of the
fleet and of the ledgers of both plans.
"""

from collections.abc import Iterator, Sequence

from planner.check.violation import Violation
from planner.fleet import Fleet, Role
from planner.plan import Plan, ServerPlan, awake_sets
from planner.plan.moves import Moves
from planner.plan.starts import longest_start_seconds

_Reached = dict[str, tuple[int, int]]
"""The servers, and the requests at once, of each role."""


def check_moves(moves: Moves, old: Plan, new: Plan, fleet: Fleet) -> list[Violation]:
    """Return every way in which moves do not lead from an old plan to a new one as they say."""
    places = {
        (node, pool.gpu_index + index): pool.capacity_bytes
        for pool in fleet.pools
        for node in pool.node_names
        for index in range(pool.gpus_per_node)
    }
    running = [server for server in old.servers if all(gpu in places for gpu in server.gpus)]
    found = list(_followed(moves, list(running), (old, new), fleet, places))
    if moves.were != len(running):
        found.append(Violation("moves", f"count {moves.were} servers that run, recomputed {len(running)}"))
    return found


def _followed(
    moves: Moves,
    running: list[ServerPlan],
    plans: tuple[Plan, Plan],
    fleet: Fleet,
    places: dict[tuple[str, int], int],
) -> Iterator[Violation]:
    names = [{server.name: server for server in plan.servers} for plan in plans]
    reached = _has(running)
    short: dict[str, list[int]] = {}
    for number, step in enumerate(moves.steps, 1):
        where = f"step {number}"
        server = names[step.action == "start"].get(step.server)
        if server is None or (server.role, server.groups) != (step.role, step.groups):
            yield Violation(where, f"{step.server} is no server of the plan there")
            return
        if step.action == "stop":
            if not any(one is server for one in running):
                yield Violation(where, f"{step.server} does not run, and is stopped")
                return
            running = [one for one in running if one is not server]
        else:
            if step.seconds != longest_start_seconds(server, plans[1].engine_version):
                yield Violation(where, f"{step.server} is given {step.seconds} seconds to start")
            yield from (Violation(where, f"{step.server} {text}") for text in _refused(server, running, fleet, places))
            running.append(server)
        now = _has(running)
        for role in fleet.roles:
            if role.name in {one.role for one in plans[1].servers} and _below(role, now, reached):
                short.setdefault(role.name, []).append(number)
        for name, (servers, requests) in now.items():
            most = reached.get(name, (0, 0))
            reached[name] = max(servers, most[0]), max(requests, most[1])
    yield from _gaps(moves, short)
    old = {id(server) for server in plans[0].servers}
    stay = sum(id(server) in old for server in running)
    if moves.stay != stay:
        yield Violation("moves", f"say that {moves.stay} servers stay, recomputed {stay}")
    yield from _end(running, plans)


def _refused(
    server: ServerPlan, running: Sequence[ServerPlan], fleet: Fleet, places: dict[tuple[str, int], int]
) -> Iterator[str]:
    """Yield why a server cannot start beside those that run."""
    rules = {role.name: role for role in fleet.roles}
    for other in running:
        if not set(server.nodes) & set(other.nodes):
            continue
        if server.name == other.name:
            yield f"starts on {server.node} while another of that name runs there"
        if server.node == other.node and {server.port, server.master_port} & {other.port, other.master_port} - {0}:
            yield f"starts on the port of {other.name}"
        if server.role == other.role and rules[server.role].spread == "node":
            yield f"starts on the node of {other.name}"
        if set(server.gpus) & set(other.gpus) and not _share(server.role, other.role, rules):
            yield f"shares a GPU with {other.name}, which the fleet forbids"
    for gpu in server.gpus:
        there = [*(other for other in running if gpu in other.gpus), server]
        if (taken := _taken(there, fleet)) > places[gpu]:
            yield f"lacks {taken - places[gpu]} bytes of GPU {gpu[1]} of {gpu[0]}"


def _share(one: str, other: str, rules: dict[str, Role]) -> bool:
    if one in rules and other in rules:
        return rules[one].shares_with(rules[other])
    known, gone = (one, other) if one in rules else (other, one)
    allowed = rules[known].share_with if known in rules else None
    return allowed is None or gone in allowed


def _taken(servers: Sequence[ServerPlan], fleet: Fleet) -> int:
    """Return what servers take of a GPU at most: the worst of all sets that are awake, with the others asleep."""
    turning = {name for group in fleet.time_share for name in group.roles}
    always = [server for server in servers if server.role not in turning or server.asleep is None]
    others = [server for server in servers if server.role in turning and server.asleep]
    sets = awake_sets(fleet.time_share, {server.role for server in others}) if others else ((),)
    worst = 0
    for awake in sets:
        total = 0
        for server in others:
            kept = server.asleep.gpu_bytes if server.asleep else 0
            total += server.ledger.total_bytes if server.role in awake else kept
        worst = max(worst, total)
    return worst + sum(server.ledger.total_bytes for server in always)


def _has(servers: Sequence[ServerPlan]) -> _Reached:
    found: _Reached = {}
    for server in servers:
        count, requests = found.get(server.role, (0, 0))
        found[server.role] = count + 1, requests + server.requests
    return found


def _below(role: Role, now: _Reached, reached: _Reached) -> bool:
    """Whether a role has less of its minimum than it had before."""
    has, had = now.get(role.name, (0, 0)), reached.get(role.name, (0, 0))
    least = role.replicas or 1, role.concurrency_min
    return any(one < min(most, enough) for one, most, enough in zip(has, had, least, strict=True))


def _gaps(moves: Moves, short: dict[str, list[int]]) -> Iterator[Violation]:
    """Compare the steps after which roles are below their minimum with the gaps that the moves tell."""
    told: dict[str, list[int]] = {}
    for gap in moves.gaps:
        seconds = sum(step.seconds for step in moves.steps[gap.first : gap.last])
        if gap.seconds != seconds:
            yield Violation(f"gap of {gap.role}", f"lasts {gap.seconds} seconds, recomputed {seconds}")
        told.setdefault(gap.role, []).extend(range(gap.first, gap.last))
    for role in sorted(told.keys() | short.keys()):
        if told.get(role, []) != short.get(role, []):
            yield Violation(role, f"is below its minimum after steps {short.get(role)}, told {told.get(role)}")


def _end(running: Sequence[ServerPlan], plans: tuple[Plan, Plan]) -> Iterator[Violation]:
    """Check that in the end the new plan runs, and nothing else."""
    if sorted(server.name for server in running) != sorted(server.name for server in plans[1].servers):
        yield Violation("moves", "end with other servers than the new plan has")
    new = {server.name: server for server in plans[1].servers}
    for one in running:
        if one.name in new and (one.groups, one.port, one.repository, one.max_num_seqs) != (
            new[one.name].groups, new[one.name].port, new[one.name].repository, new[one.name].max_num_seqs,
        ):  # fmt: skip
            yield Violation("moves", f"leave {one.name} as the old plan has it")
