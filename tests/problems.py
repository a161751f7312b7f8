"""Small random problems for the solver, and brute force over them.

A planted problem is built round a plan: every role's candidate, sequences and GPUs are drawn first and the GPUs are
made just large enough for them, so that a solver which calls it infeasible, or finds less, is wrong.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from hypothesis import strategies as st
from msgspec.structs import replace

from planner.search.placing import blocks
from planner.search.problem import COST, Block, Candidate, Choice, Decided, PoolProblem, Problem, RoleProblem, Turn

Plan = tuple[Choice | None, ...]


class Planted(NamedTuple):
    problem: Problem
    choices: Plan


@st.composite
def candidates(draw: st.DrawFn, pools: tuple[PoolProblem, ...] = (PoolProblem(capacity=0),)) -> Candidate:
    least = draw(st.integers(1, 2))
    small = st.integers(0, 6)
    pool = draw(st.integers(0, len(pools) - 1))
    widths = [width for width in (1, 2) if width <= pools[pool].width]
    stages, across = draw(st.sampled_from([(1, False), (1, False), (2, False), (2, True), (3, False), (3, True)]))
    return Candidate(
        pool=pool,
        width=draw(st.sampled_from(widths)),
        stages=stages if pools[pool].gpus > 1 else 1,
        across=across and pools[pool].gpus > 1,
        blocks=draw(st.integers(1, 2)) if pools[pool].gpus > 1 else 1,
        fixed=draw(st.integers(1, 30)),
        per_sequence=draw(st.integers(0, 2)),
        kv_floor=draw(st.integers(0, 12)),
        kv_per_sequence=draw(small),
        peak_floor=draw(st.integers(0, 12)),
        peak_base=draw(small),
        peak_per_sequence=draw(small),
        least=least,
        most=draw(st.integers(least, 3)),
        worth=((draw(st.integers(0, 4)), draw(st.integers(0, 2))), (draw(st.integers(0, 4)), draw(st.integers(0, 2)))),
    )


@st.composite
def one_gpu(draw: st.DrawFn) -> Planted:
    """Up to three roles on one GPU."""
    return draw(planted(st.just((PoolProblem(capacity=0),)), roles=3))


@st.composite
def many_gpus(draw: st.DrawFn) -> Planted:
    """Up to three roles on two kinds of nodes, with replicas, tensor parallelism, and rules about who shares."""
    pools = st.sampled_from(
        [
            (PoolProblem(capacity=0, width=2),),
            (PoolProblem(capacity=0, width=1, nodes=(0, 1)),),
            (PoolProblem(capacity=0, width=3),),
            (PoolProblem(capacity=0, width=2, nodes=(0, 1)),),
            (PoolProblem(capacity=0, width=1, nodes=(0, 1, 2)),),
            (PoolProblem(capacity=0, width=2, price=3), PoolProblem(capacity=0, nodes=(1,), price=2)),
            (PoolProblem(capacity=0, width=1, price=1), PoolProblem(capacity=0, width=2, nodes=(0,), price=1)),
        ]
    )
    return draw(planted(pools, roles=3, rules=True))


@st.composite
def in_turns(draw: st.DrawFn) -> Planted:
    """Up to three roles, of which two or three take turns, on one to three GPUs."""
    pools = st.sampled_from(
        [
            (PoolProblem(capacity=0),),
            (PoolProblem(capacity=0, width=2),),
            (PoolProblem(capacity=0, width=3),),
            (PoolProblem(capacity=0, width=1, price=1), PoolProblem(capacity=0, width=2, nodes=(0,), price=2)),
        ]
    )
    return draw(planted(pools, roles=3, rules=True, turns=True))


@st.composite
def planted(
    draw: st.DrawFn,
    shapes: st.SearchStrategy[tuple[PoolProblem, ...]],
    roles: int,
    *,
    rules: bool = False,
    turns: bool = False,
) -> Planted:
    pools = draw(shapes)
    members = []
    for index in range(draw(st.integers(2 if turns else 1, roles))):
        found = tuple(draw(st.lists(candidates(pools), min_size=1, max_size=3)))
        if turns:
            found = tuple(replace(c, asleep=draw(st.integers(0, c.fixed)), host=draw(st.integers(0, 9))) for c in found)
        optional, stacked = (draw(st.booleans()), draw(st.integers(1, 2))) if rules else (False, 1)
        spread = rules and draw(st.booleans())
        members.append(
            RoleProblem(name=f"r{index}", candidates=found, optional=optional, stacked=stacked, spread=spread)
        )
    pairs = list(itertools.combinations(range(len(members)), 2))
    apart = frozenset(draw(st.lists(st.sampled_from(pairs), max_size=1))) if rules and pairs else frozenset()
    stages = (
        draw(st.sampled_from([("first", "second"), (COST, "second"), ("first", COST)]))
        if rules
        else ("first", "second")
    )
    groups: tuple[Turn, ...] = ()
    if turns:
        together = tuple(draw(st.sampled_from([pair for pair in [*pairs, (0, 1, 2)] if max(pair) < len(members)])))
        groups = (Turn(together, draw(st.integers(1, len(together) - 1))),)
        apart = frozenset(pair for pair in apart if not set(pair) <= set(together))
    host = draw(st.none() | st.integers(0, 20)) if turns else None
    problem = Problem(roles=tuple(members), pools=pools, stages=stages, apart=apart, turns=groups, host=host)
    roomy = _resized(problem, [1 << 20] * len(pools))
    possible = [list(_choices(roomy, role)) for role in range(len(members))]
    choices = tuple(draw(st.sampled_from(ways)) if ways else None for ways in possible)
    hopeful = all(ways or role.optional for ways, role in zip(possible, members, strict=True))
    hopeful = hopeful and any(choices) and fits(roomy, choices)
    taken = _taken(problem, choices) if hopeful else {}
    sizes = [max([0, *(size for gpu, size in taken.items() if gpu[0] == pool)]) for pool in range(len(pools))]
    return Planted(_resized(problem, [size + draw(st.integers(0, 20)) for size in sizes]), choices if hopeful else ())


def _resized(problem: Problem, capacities: list[int]) -> Problem:
    pools = tuple(
        PoolProblem(capacity=capacity, width=pool.width, nodes=pool.nodes, price=pool.price)
        for pool, capacity in zip(problem.pools, capacities, strict=True)
    )
    return replace(problem, pools=pools)


def plans(problem: Problem) -> Iterator[Plan]:
    """Yield every plan that fits."""
    ways = [
        [*_choices(problem, position), *([None] if role.optional else [])]
        for position, role in enumerate(problem.roles)
    ]
    for choices in itertools.product(*ways):
        if any(choices) and fits(problem, choices):
            yield choices


def _choices(problem: Problem, position: int) -> Iterator[Choice]:
    role = problem.roles[position]
    for index, candidate in enumerate(role.candidates):
        servers = list(_servers(problem, candidate))
        for several in itertools.combinations_with_replacement(servers, candidate.blocks):
            found = tuple(block for server in several for block in server)
            if max(_count(found, gpu) for block in found for gpu in block.gpus) > role.stacked:
                continue
            nodes = [{problem.pools[block.pool].nodes[block.node] for block in server} for server in several]
            if role.spread and any(one & other for one, other in itertools.combinations(nodes, 2)):
                continue
            for sequences in range(candidate.least, candidate.most + 1):
                yield Choice(candidate=index, sequences=sequences, blocks=found)


def _servers(problem: Problem, candidate: Candidate) -> Iterator[tuple[Block, ...]]:
    """Yield the places of one server: a block for each stage, all on nodes of their own or all on one node."""
    for server in itertools.combinations(blocks(problem, candidate.pool, candidate.width), candidate.stages):
        nodes = {block.node for block in server}
        if len(nodes) == (candidate.stages if candidate.across else 1):
            yield server


def _count(found: tuple[Block, ...], gpu: tuple[int, int, int]) -> int:
    return sum(gpu in block.gpus for block in found)


def fits(problem: Problem, choices: Plan) -> bool:
    """Whether memory suffices on every GPU and nobody shares one who may not."""
    taken = _taken(problem, choices)
    if any(size > problem.pools[gpu[0]].capacity for gpu, size in taken.items()):
        return False
    if problem.host is not None and sum(candidate.host for candidate, _ in _chosen(problem, choices)) > problem.host:
        return False
    on = [{gpu for block in choice.blocks for gpu in block.gpus} if choice else set() for choice in choices]
    return not any(on[one] & on[other] for one, other in problem.apart)


def _taken(problem: Problem, choices: Plan) -> dict[tuple[int, int, int], int]:
    """Return the most that any awake set takes of each GPU, over all combinations of such sets."""
    everybody = set(range(len(problem.roles)))
    sets = [itertools.combinations(turn.roles, turn.awake) for turn in problem.turns]
    most: dict[tuple[int, int, int], int] = {}
    for awake in itertools.product(*sets):
        away = {role for turn in problem.turns for role in turn.roles} - {role for one in awake for role in one}
        taken = _awake(problem, choices, everybody - away)
        most = {gpu: max(taken.get(gpu, 0), most.get(gpu, 0)) for gpu in taken | most}
    return most


def _awake(problem: Problem, choices: Plan, awake: set[int]) -> dict[tuple[int, int, int], int]:
    taken: dict[tuple[int, int, int], int] = {}
    for position, (role, choice) in enumerate(zip(problem.roles, choices, strict=True)):
        if choice:
            candidate = role.candidates[choice.candidate]
            size = candidate.footprint(choice.sequences) if position in awake else candidate.asleep
            for block in choice.blocks:
                for gpu in block.gpus:
                    taken[gpu] = taken.get(gpu, 0) + size
    return taken


def valid(problem: Problem, choices: Plan) -> bool:
    """Whether a plan is one of those brute force would try."""
    return fits(problem, choices) and all(
        choice in list(_choices(problem, position)) if choice else role.optional
        for position, (role, choice) in enumerate(zip(problem.roles, choices, strict=True))
    )


def values(problem: Problem, choices: Plan) -> tuple[int, ...]:
    """Return the value of every stage, without headroom."""
    found = []
    for stage, name in enumerate(problem.stages):
        if name == COST:
            found.append(-sum(problem.pools[gpu[0]].price for gpu in _taken(problem, choices)))
        else:
            found.append(sum(c.value(stage, count) for c, count in _chosen(problem, choices)))
    return tuple(found)


def headroom(problem: Problem, choices: Plan) -> int:
    """Return the bytes left free; a role that shares with nobody takes its GPUs whole."""
    free = sum(pool.capacity * pool.gpus for pool in problem.pools)
    whole = {
        gpu: problem.pools[gpu[0]].capacity
        for role, choice in enumerate(choices)
        if choice and problem.alone(role)
        for block in choice.blocks
        for gpu in block.gpus
    }
    return free - sum((_taken(problem, choices) | whole).values())


def rank(problem: Problem, choices: Plan) -> tuple[object, ...]:
    """Return the order of plans, best first: stages, headroom, then first candidates and most sequences by role."""
    order = []
    for role, choice in zip(problem.roles, choices, strict=True):
        step = max((candidate.most for candidate in role.candidates), default=0) + 1
        order.append(choice.candidate * step - choice.sequences if choice else 0)
    negative = tuple(-value for value in values(problem, choices))
    return negative, -headroom(problem, choices), tuple(order)


def decided(choices: Plan) -> list[Decided]:
    return [(choice.candidate, choice.sequences) if choice else None for choice in choices]


def _chosen(problem: Problem, choices: Plan) -> Iterator[tuple[Candidate, int]]:
    for role, choice in zip(problem.roles, choices, strict=True):
        if choice:
            yield role.candidates[choice.candidate], choice.sequences
