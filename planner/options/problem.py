"""Prepared options and a fleet's objective -> Problem."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

from msgspec import Struct
from msgspec.structs import replace

from planner.fleet import Fleet, Role
from planner.options.option import Option, Prepared, RoleOptions
from planner.options.paces import LEFT_OUT
from planner.options.shares import Seat, kin, request_worth, seats, teams
from planner.options.worth import COST_PER_MTOK, LATENCY, SHARE, STEP, THROUGHPUT, TPOT, Worth
from planner.search.problem import (
    COST,
    MINIMAL_CHANGE,
    Block,
    Candidate,
    PoolProblem,
    Problem,
    RoleProblem,
    Team,
    Turn,
)

ACCURACY, CONCURRENCY, BALANCED = "accuracy", "concurrency", "balanced"
SCORE, CONTEXT, BATCH, ACCURACY_LEFT = "score", "context", "batched tokens", "accuracy below a point"

Pair = tuple[int, int]

_STAGES: dict[str, Callable[[Worth], Pair]] = {
    BALANCED: lambda worth: (worth.accuracy + worth.served_base, worth.served),
    ACCURACY: lambda worth: (worth.accuracy, 0),
    CONCURRENCY: lambda worth: (worth.served_base, worth.served),
    COST: lambda worth: (0, 0),
    MINIMAL_CHANGE: lambda worth: (0, 0),
    THROUGHPUT: lambda worth: (worth.pace.throughput, 0),
    LATENCY: lambda worth: (worth.pace.latency, 0),
    TPOT: lambda worth: (worth.pace.tpot, 0),
    COST_PER_MTOK: lambda worth: (worth.pace.cost_per_mtok, 0),
    SCORE: lambda worth: (worth.score, 0),
    CONTEXT: lambda worth: (worth.context, 0),
    BATCH: lambda worth: (worth.batch, 0),
    ACCURACY_LEFT: lambda worth: (worth.accuracy_left, 0),
}
"""What a stage adds up over the roles, before their weights: a constant, and something per sequence."""


_MOST = {BALANCED: 2 * SHARE, ACCURACY: SHARE, CONCURRENCY: SHARE, CONTEXT: STEP, BATCH: STEP}
"""What a role of weight 1 adds to a stage at most."""


class Kept(Struct, frozen=True):
    """What the servers of a role would stay as: the last ``options`` of the role, with so many sequences each.

    ``blocks`` are those of the earlier servers that are still there.
    """

    sequences: int
    blocks: tuple[Block, ...]
    options: int = 1


def stages(objective: tuple[str, ...], *, kept: bool = False) -> tuple[str, ...]:
    """Return everything that is maximised, in order: the objective, and what it leaves open.

    What stays as it was is counted only when something of an earlier plan can be ``kept``.
    """
    asked = [name for name in objective if kept or name != MINIMAL_CHANGE]
    if not {BALANCED, ACCURACY, CONCURRENCY} & set(asked):
        asked.append(BALANCED)
    elif BALANCED not in asked:
        asked += [name for name in (ACCURACY, CONCURRENCY) if name not in asked]
    left = (CONTEXT, BATCH) if SCORE in asked else (CONTEXT, BATCH, ACCURACY_LEFT)
    return tuple(asked + [name for name in left if name not in asked])


def ranges(names: Sequence[str], fleet: Fleet) -> tuple[int, ...]:
    """Return the most that each of the first stages can be of a whole plan, as far as that is known of its kind.

    They are at least 0; the cost at most that, and as far below it.
    """
    found = []
    for name in names:
        if name not in _MOST and name != COST:
            break
        cost = sum(pool.most_price for pool in pools(fleet))
        found.append(cost if name == COST else _MOST[name] * sum(role.weight for role in fleet.roles))
    return tuple(found)


def most_of(name: str) -> int | None:
    """Return what no option adds to a stage more than, before its role's weight; None where nothing is known."""
    if name == SCORE:
        return SHARE
    return None if name == THROUGHPUT else _MOST.get(name, 0)


def losses(names: tuple[str, ...]) -> Callable[[Worth], Callable[[int], tuple[int, ...]]]:
    """Return what says how much an option with so many sequences loses in each of some stages: its worth, negated."""
    pairs = [_STAGES[name] for name in names]

    def of(worth: Worth) -> Callable[[int], tuple[int, ...]]:
        lines = [pair(worth) for pair in pairs]
        return lambda sequences: tuple([-constant - slope * sequences for constant, slope in lines])

    return of


def servable(prepared: Prepared) -> tuple[RoleOptions, ...]:
    """Return the roles that have options; of the others, only optional ones can be left out."""
    return tuple(found for found in prepared.roles if found.options)


def problem(
    fleet: Fleet,
    prepared: Prepared,
    barred: Mapping[str, str] | None = None,
    kept: Mapping[str, Kept] | None = None,
) -> Problem:
    """Return the problem of a fleet whose every required role has options.

    ``barred`` has the variants of roles that an answer may not have all together. The last options of each role in
    ``kept`` are servers as an earlier plan has them, more or fewer of them.
    """
    names = stages(fleet.objective, kept=bool(kept))
    found = seats(prepared)
    return Problem(
        roles=tuple(
            _role(fleet, seat, names, (barred or {}).get(seat.name, ""), (kept or {}).get(seat.name)) for seat in found
        ),
        pools=pools(fleet),
        stages=names,
        apart=apart([seat.role for seat in found]),
        floors=tuple((names.index(name), least) for name, least in fleet.floors),
        turns=turns(fleet, [seat.role for seat in found]),
        host=fleet.host_memory_bytes,
        teams=tuple(_team(found[members[0]].role, members, names) for members in teams(found)),
    )


def _team(role: Role, members: tuple[int, ...], names: Sequence[str]) -> Team:
    return Team(
        roles=members,
        least=role.concurrency_min,
        most=role.concurrency_target,
        servers=role.replicas,
        worth=tuple(request_worth(role) if name in (BALANCED, CONCURRENCY) else 0 for name in names),
    )


def pools(fleet: Fleet) -> tuple[PoolProblem, ...]:
    """Return the pools of a fleet as the solver sees them.

    GPUs cost millionths of a dollar per hour, or one each when a price is not known.
    """
    nodes = sorted({name for pool in fleet.pools for name in pool.node_names})
    return tuple(
        PoolProblem(
            capacity=pool.capacity_bytes,
            width=pool.gpus_per_node,
            nodes=tuple(nodes.index(name) for name in pool.node_names),
            price=(pool.microdollars_per_hour or 0) if fleet.priced else 1,
            paid=pool.paid_together if fleet.priced else 1,
        )
        for pool in fleet.pools
    )


def apart(roles: Sequence[Role]) -> frozenset[tuple[int, int]]:
    """Return the pairs of positions of roles that may not be on one GPU."""
    pairs = combinations(enumerate(roles), 2)
    return frozenset(
        (one, other)
        for (one, first), (other, second) in pairs
        if first.name != second.name and not first.shares_with(second)
    )


def turns(fleet: Fleet, roles: Sequence[Role]) -> tuple[Turn, ...]:
    """Return the groups that take turns, of those of these roles that are there to do so."""
    names = [role.name for role in roles]
    groups = [
        (tuple(names.index(name) for name in group.roles if name in names), group.awake) for group in fleet.time_share
    ]
    return tuple(Turn(members, awake) for members, awake in groups if len(members) > awake)


def stacked(role: Role, candidates: Sequence[Candidate], where: Sequence[PoolProblem]) -> int:
    """Return how many servers of a role may be on one GPU: all of them, as far as their memory allows it anywhere.

    Where their number is open it is one: two servers on a GPU do what one with as many sequences does with less. So it
    is where the role wants speed, which is known of servers alone.
    """
    if role.replicas is None or role.spread or role.wants_speed:
        return 1
    fit = max(where[found.pool].capacity // found.footprint(found.least) for found in candidates)
    return max(1, min(role.replicas, fit))


def candidate(weight: int, option: Option, names: tuple[str, ...], barred: str = "") -> Candidate:
    """Return an option as the solver sees it, for a role of this weight and these stages; a variant may be barred."""
    demand = option.demand
    pairs = [_STAGES[name](option.worth) for name in names]
    return Candidate(
        pool=option.pool,
        width=option.width,
        stages=option.blocks,
        across=option.nodes > 1,
        blocks=option.replicas,
        fixed=demand.fixed_bytes,
        per_sequence=demand.state_bytes_per_sequence,
        kv_floor=demand.kv_floor_bytes,
        kv_per_sequence=demand.kv_bytes_per_sequence,
        peak_floor=demand.activation_floor_bytes,
        peak_base=demand.activation_base_bytes,
        peak_per_sequence=demand.activation_bytes_per_sequence,
        least=option.sequences_min,
        most=option.sequences_max,
        worth=tuple([(weight * constant, weight * slope) for constant, slope in pairs]),
        barred=option.variant.repository == barred,
        asleep=option.asleep.gpu_bytes,
        host=option.host_bytes,
    )


def left_out(role: Role, stage: str) -> int:
    """Return what a role counts in a stage of which less is better, negated, when it is left out."""
    return role.weight * LEFT_OUT.get(stage, 0) if role.optional and role.output_tokens else 0


def in_plan(fleet: Fleet, stage: str, value: int) -> int:
    """Return a stage's value as a plan states it: to the solver a role that is left out counts nothing."""
    return value - sum(left_out(role, stage) for role in fleet.roles)


def _role(fleet: Fleet, seat: Seat, names: tuple[str, ...], barred: str, kept: Kept | None) -> RoleProblem:
    role = seat.role
    candidates = [_beside(role, candidate(role.weight, option, names, barred), names) for option in seat.options]
    if role.across_pools:
        pairs = zip(seat.options, candidates, strict=True)
        candidates = [_in_team(fleet, seat, option, one, names) for option, one in pairs]
    together = _together(kept) if kept and not (role.spread or role.wants_speed) else 1
    if kept:
        candidates[-kept.options :] = [_stays(found, kept, names) for found in candidates[-kept.options :]]
    return RoleProblem(
        name=seat.name,
        candidates=tuple(candidates),
        optional=seat.optional,
        stacked=max(stacked(role, candidates, pools(fleet)), together),
        spread=role.spread == "node",
    )


def _in_team(fleet: Fleet, seat: Seat, option: Option, found: Candidate, names: tuple[str, ...]) -> Candidate:
    """Return a candidate of a role across pools; those that do not lead add requests, and what their batch lacks."""
    rank = option.worth.accuracy_left * len(fleet.pools) + option.pool
    worth = found.worth
    if seat.pool is not None:
        added = {BALANCED: 0, CONCURRENCY: 0, BATCH: (option.worth.batch - STEP) * seat.role.weight}
        worth = tuple(
            (added.get(name, 0), slope if name in added else 0) for name, (_, slope) in zip(names, worth, strict=True)
        )
    return replace(found, ranks=option.ranks, kin=seat.kins.index(kin(option)), rank=rank, worth=worth)


def _beside(role: Role, found: Candidate, names: tuple[str, ...]) -> Candidate:
    """Return a candidate that counts by how much it is better than leaving its role out."""
    more = [left_out(role, name) for name in names]
    if not any(more):
        return found
    worth = [(constant + extra, slope) for (constant, slope), extra in zip(found.worth, more, strict=True)]
    return replace(found, worth=tuple(worth))


def _together(kept: Kept) -> int:
    """Return how many servers of an earlier plan are on the fullest GPU: a number that is open now may stay so."""
    return max(Counter(gpu for block in kept.blocks for gpu in block.gpus).values(), default=1)


def _stays(found: Candidate, kept: Kept, names: tuple[str, ...]) -> Candidate:
    """Return a candidate as an earlier plan has it: as many of its servers as there were may stay where they are."""
    stay = min(found.blocks, len(kept.blocks) // found.stages)
    worth = ((stay, 0) if name == MINIMAL_CHANGE else pair for name, pair in zip(names, found.worth, strict=True))
    return replace(found, least=kept.sequences, most=kept.sequences, stays=kept.blocks, worth=tuple(worth))
