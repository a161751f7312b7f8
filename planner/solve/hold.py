"""Hold: what an earlier plan decided stays, as far as that costs nothing.

Machines that already run a plan should not be rebuilt for one that is no better. So of the answers that are equal in
every stage the one that follows the earlier plan is taken: its options and requests where they are worth the same, and
its GPUs. A better answer is never given up for that, nor do servers share GPUs that a new plan would give them alone,
unless the GPUs in use are to be few.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from planner.fleet import Fleet
from planner.options import Option, Prepared, RoleOptions
from planner.plan import GPUGroup, Plan, ServerPlan
from planner.solve.board import Board
from planner.solve.decompose import value
from planner.solve.packing import Decided
from planner.solve.problem import COST, Answer, Block, Candidate, Choice, Problem, StageValue
from planner.solve.stages import HEADROOM
from planner.solve.translate import servable

Choices = Sequence[Choice | None]


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an earlier plan has for one role: a candidate and its sequences, if it is still one, and its blocks."""

    decided: Decided = None
    blocks: tuple[Block, ...] = ()


def earlier(fleet: Fleet, prepared: Prepared, plan: Plan) -> tuple[Earlier, ...]:
    """Return what an earlier plan has for each role of the problem; nothing for new roles and GPUs that are gone."""
    return tuple(
        _earlier(fleet, found, [server for server in plan.servers if server.role == found.role.name])
        for found in servable(prepared)
    )


def hold(problem: Problem, fresh: Answer, old: Sequence[Earlier]) -> Answer:
    """Return the answer that follows the earlier plan most among those as good as ``fresh``; ``fresh`` if none does."""
    there = _board(problem, fresh.choices, [_blocks(choice) for choice in fresh.choices])
    if there is None:
        return fresh
    least = _rank(problem, fresh.choices, there)
    for choices in _followed(problem, fresh.choices, old):
        board = _board(problem, choices, [one.blocks for one in old])
        if board is None or _rank(problem, choices, board) < least:
            continue
        if COST in problem.stages or _crowding(board) <= _crowding(there):
            return _answer(problem, fresh, choices, board, old)
    return fresh


def _earlier(fleet: Fleet, found: RoleOptions, servers: list[ServerPlan]) -> Earlier:
    servers.sort(key=lambda server: (len(server.name), server.name))
    blocks = [_block(fleet, group) for server in servers for group in server.groups]
    places = tuple(block for block in blocks if block)
    if not servers or len(places) < len(blocks):
        return Earlier()
    sequences = servers[0].max_num_seqs
    for index, option in enumerate(found.options):
        if _same(option, servers, places) and option.sequences_min <= sequences <= option.sequences_max:
            return Earlier((index, sequences), places)
    return Earlier(None, places)


def _same(option: Option, servers: Sequence[ServerPlan], blocks: Sequence[Block]) -> bool:
    """Whether servers are what an option starts, where it would start them."""
    server = servers[0]
    return (
        (option.variant.path or option.variant.repository) == server.repository
        and option.kv_cache_dtype == server.kv_cache_dtype
        and option.max_model_len == server.max_model_len
        and option.max_num_batched_tokens == server.max_num_batched_tokens
        and option.tensor_parallel_size == server.tensor_parallel_size
        and option.pipeline_parallel_size == server.pipeline_parallel_size
        and option.replicas == len(servers)
        and {option.pool} == {block.pool for block in blocks}
    )


def _block(fleet: Fleet, group: GPUGroup) -> Block | None:
    """Return GPUs of a plan as a block of the fleet; None when it has none there."""
    width = len(group.gpu_indices)
    for position, pool in enumerate(fleet.pools):
        first = group.gpu_indices[0] - pool.gpu_index
        inside = 0 <= first <= pool.gpus_per_node - width and first % width == 0
        if group.node in pool.node_names and inside:
            return Block(position, pool.node_names.index(group.node), first, width)
    return None


def _followed(problem: Problem, fresh: Choices, old: Sequence[Earlier]) -> Iterator[list[Choice | None]]:
    """Yield choices that follow the earlier ones: all of them, then those that are worth the same, role by role."""
    yield [_choice(one) or choice for one, choice in zip(old, fresh, strict=True)]
    yield [
        mine if (mine := _choice(one)) and _weight(problem, role, mine) == _weight(problem, role, choice) else choice
        for role, (one, choice) in enumerate(zip(old, fresh, strict=True))
    ]


def _choice(one: Earlier) -> Choice | None:
    return one.decided and Choice(candidate=one.decided[0], sequences=one.decided[1], blocks=one.blocks)


def _blocks(choice: Choice | None) -> tuple[Block, ...]:
    return choice.blocks if choice else ()


def _weight(problem: Problem, role: int, choice: Choice | None) -> tuple[int, ...]:
    """Return what a choice adds to every stage but cost, and the bytes it leaves free, counted from none."""
    if choice is None:
        return (0,) * (len(problem.stages) + 1)
    one = problem.roles[role].candidates[choice.candidate]
    size = problem.pools[one.pool].capacity if problem.alone(role) else one.footprint(choice.sequences)
    return (*(one.value(stage, choice.sequences) for stage in range(len(problem.stages))), -size * one.gpus)


def _rank(problem: Problem, choices: Choices, board: Board) -> tuple[int, ...]:
    """Return the value of every stage, and of headroom from an arbitrary zero."""
    headroom = sum(_weight(problem, role, choice)[-1] for role, choice in enumerate(choices))
    decided = [(choice.candidate, choice.sequences) if choice else None for choice in choices]
    return (*value(problem, decided, board), headroom)


def _board(problem: Problem, choices: Choices, wanted: Sequence[tuple[Block, ...]]) -> Board | None:
    """Put servers on the blocks that are wanted where they fit, and the others where there is room after that."""
    board = Board(problem)
    items: list[tuple[int, Candidate, int, tuple[Block, ...]]] = []
    for role, choice in enumerate(choices):
        if choice:
            one = problem.roles[role].candidates[choice.candidate]
            fitting = all((block.pool, block.width) == (one.pool, one.width) for block in wanted[role])
            items.append((role, one, choice.sequences, wanted[role] if fitting else ()))
    items.sort(key=lambda item: (not item[3], -item[1].width, -item[1].footprint(item[2]), item[0]))
    few = COST in problem.stages
    for role, one, sequences, blocks in items:
        if not board.put(role, one, sequences, emptiest=not few, wanted=blocks):
            return None
    return board


def _crowding(board: Board) -> list[int]:
    """Return how many servers are on the GPUs, the fullest first."""
    return sorted((len(there) for there in board.on), reverse=True)


def _answer(problem: Problem, fresh: Answer, choices: Choices, board: Board, old: Sequence[Earlier]) -> Answer:
    rank, before = _rank(problem, choices, board), _rank(problem, fresh.choices, board)
    values = [*rank[:-1], fresh.stages[-1].value + rank[-1] - before[-1]]
    assert [stage.name for stage in fresh.stages] == [*problem.stages, HEADROOM]
    proven, stages = True, []
    for stage, reached in zip(fresh.stages, values, strict=True):
        bound = max(stage.bound, reached) if reached != stage.value else stage.bound
        proven = proven and (stage.proven if reached == stage.value else reached == bound)
        stages.append(StageValue(name=stage.name, value=reached, bound=bound, proven=proven))
    made = [
        choice and replace(choice, blocks=_in_order(board.blocks(role), one.blocks, problem, role, choice))
        for role, (choice, one) in enumerate(zip(choices, old, strict=True))
    ]
    return replace(fresh, choices=tuple(made), stages=tuple(stages))


def _in_order(
    blocks: tuple[Block, ...], before: tuple[Block, ...], problem: Problem, role: int, choice: Choice
) -> tuple[Block, ...]:
    """Number servers as they were: each that is where one was before keeps its number, the others have what is left."""
    stages = problem.roles[role].candidates[choice.candidate].stages
    servers = [blocks[first : first + stages] for first in range(0, len(blocks), stages)]
    places: list[tuple[Block, ...] | None] = [None] * len(servers)
    for place, first in enumerate(range(0, min(len(before), len(blocks)), stages)):
        if (server := before[first : first + stages]) in servers:
            servers.remove(server)
            places[place] = server
    rest = iter(servers)
    return tuple(block for server in places for block in server or next(rest))
