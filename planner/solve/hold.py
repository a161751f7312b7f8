"""Hold: what an earlier plan decided stays, as far as that costs nothing.

Machines that already run a plan should not be rebuilt for one that is no better. So of the answers that are equal in
every stage the one that follows the earlier plan is taken: its options and requests where they are worth the same, and
its GPUs. A better answer is never given up for that, nor do servers share GPUs that a new plan would give them alone,
unless the GPUs in use are to be few.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from planner.catalog import Catalog
from planner.fleet import Fleet, Role
from planner.options import Option, Prepared, Standing, standing_options
from planner.options.layouts import Layout
from planner.options.option import RoleOptions
from planner.options.paces import Pacing
from planner.options.problem import Kept, servable
from planner.options.shares import Seat, seats_of
from planner.plan import GPUGroup, Plan, ServerPlan
from planner.search.board import Board
from planner.search.chain import HEADROOM
from planner.search.decompose import value
from planner.search.problem import (
    COST,
    Answer,
    Block,
    Candidate,
    Choice,
    Decided,
    Problem,
    StageValue,
    Team,
    by_server,
)
from planner.search.relabel import relabelled
from planner.search.teams import sound, surplus

Choices = Sequence[Choice | None]


class Earlier(Struct, frozen=True):
    """What an earlier plan has for one role: a candidate and its sequences, if it is still one, and its blocks.

    Those of ``blocks`` that the fleet has no longer are not among them. ``others`` are candidates that differ from the
    one ``decided`` only in the number of servers.
    """

    decided: Decided = None
    blocks: tuple[Block, ...] = ()
    others: tuple[int, ...] = ()

    def same(self, choice: Choice) -> bool:
        """Whether a choice is of servers as they were."""
        if self.decided is None:
            return False
        return choice.candidate in (self.decided[0], *self.others) and choice.sequences == self.decided[1]


class Keeping(Struct, frozen=True):
    """Options to which those of an earlier plan were added, the last ones of each role in ``kept``, and that plan."""

    prepared: Prepared
    kept: Mapping[str, Kept]
    old: tuple[Earlier, ...]


def keep(fleet: Fleet, prepared: Prepared, catalog: Catalog, plan: Plan) -> Keeping:
    """Return options among which every role can stay as it is where its rules allow that, though another is better.

    New roles have nothing of the earlier plan, and neither have servers whose GPUs are gone.
    """
    kept: dict[str, Kept] = {}
    old: list[Earlier] = []
    options: dict[str, tuple[Option, ...]] = {}
    pacing = Pacing.of(fleet.objective, catalog.speed, priced=fleet.priced)
    for found in servable(prepared):
        if found.role.across_pools:
            options[found.role.name], earlier = _across(fleet, prepared, catalog, found, plan)
            old += earlier
            continue
        name, servers = found.role.name, _servers(plan, found.role.name)
        blocks = _places(fleet, servers)
        standing = _standing(prepared, catalog, found.role, servers, blocks, pacing)
        if standing:
            kept[name] = Kept(servers[0].max_num_seqs, blocks, len(standing))
            options[name] = (*found.options, *standing)
        first, last = len(found.options), len(found.options) + len(standing) - 1
        decided = (last, servers[0].max_num_seqs) if standing else None
        old.append(Earlier(decided, blocks, tuple(range(first, last))))
    roles = (replace(found, options=options.get(found.role.name, found.options)) for found in prepared.roles)
    return Keeping(replace(prepared, roles=tuple(roles)), kept, tuple(old))


def _across(
    fleet: Fleet, prepared: Prepared, catalog: Catalog, found: RoleOptions, plan: Plan
) -> tuple[tuple[Option, ...], list[Earlier]]:
    """Return the options of a role across pools, with those that its servers are, and what each of its seats has.

    That is nothing unless all of them are options still.
    """
    stands: dict[int, tuple[Option, Earlier]] = {}
    pools = {option.pool for option in found.options}
    for servers in plan.by_pool(found.role.name).values():
        servers = sorted(servers, key=_number)
        blocks = _places(fleet, servers)
        whole = len(blocks) == sum(len(server.groups) for server in servers)
        options = _standing(prepared, catalog, found.role, servers, blocks, None) if whole else ()
        if len(options) != 1 or options[0].pool not in pools:
            return found.options, [Earlier() for _ in seats_of(found)]
        option = options[0]
        stands[option.pool] = option, Earlier((0, servers[0].max_num_seqs), blocks)
    found = replace(found, options=(*found.options, *(option for option, _ in stands.values())))
    lead = min(((option.worth.accuracy_left, pool) for pool, (option, _) in stands.items()), default=(0, -1))[1]
    old = []
    for seat in seats_of(found):
        stood = stands.get(lead if seat.pool is None else seat.pool) if seat.pool != lead else None
        old.append(_seated(seat, *stood) if stood else Earlier())
    return found.options, old


def _seated(seat: Seat, option: Option, earlier: Earlier) -> Earlier:
    """Return what servers have as the candidate that their option is in a seat."""
    place = max(index for index, one in enumerate(seat.options) if one is option)
    return replace(earlier, decided=earlier.decided and (place, earlier.decided[1]))


def hold(problem: Problem, fresh: Answer, old: Sequence[Earlier]) -> Answer:
    """Return the answer that follows the earlier plan most among those as good as ``fresh``, or ``fresh`` itself."""
    there = next(_boards(problem, fresh.choices, [_blocks(choice) for choice in fresh.choices]), None)
    if there is None:
        return fresh
    least, crowding = _rank(problem, fresh.choices, there), _crowding(there)
    best, most = fresh, _stays(problem, fresh.choices, old)
    places = [one.blocks for one in old]
    same = relabelled(problem, [_blocks(choice) for choice in fresh.choices], places)
    followed = _followed(problem, fresh.choices, old)
    ways = [(choices, places) for choices in followed if sound(problem, _decided(choices))]
    for choices, wanted in (*ways, (fresh.choices, same)):
        for board in _boards(problem, choices, wanted):
            roomy = COST in problem.stages or _crowding(board) <= crowding
            if roomy and _rank(problem, choices, board) >= least:
                answer = _answer(problem, fresh, choices, board)
                if (stays := _stays(problem, answer.choices, old)) > most:
                    best, most = answer, stays
    return best


def _servers(plan: Plan, role: str) -> list[ServerPlan]:
    """Return the servers of a role in order of their numbers."""
    return sorted((server for server in plan.servers if server.role == role), key=_number)


def _number(server: ServerPlan) -> tuple[int, str]:
    return len(server.name), server.name


def _places(fleet: Fleet, servers: Sequence[ServerPlan]) -> tuple[Block, ...]:
    """Return the blocks that servers are on, of those servers that the fleet still has all GPUs of."""
    found = ([block_of(fleet, group) for group in server.groups] for server in servers)
    return tuple(block for blocks in found if all(blocks) for block in blocks if block)


def _standing(
    prepared: Prepared,
    catalog: Catalog,
    role: Role,
    servers: Sequence[ServerPlan],
    blocks: Sequence[Block],
    pacing: Pacing | None,
) -> tuple[Option, ...]:
    """Return the options that servers on blocks of one pool are; none when the role does not allow them any more."""
    pools = {block.pool for block in blocks}
    if len(pools) != 1:
        return ()
    place = next(place for place in prepared.places if place.pool in pools)
    if role.pools is not None and place.name not in role.pools:
        return ()
    server = servers[0]
    had = Standing(
        repository=server.repository,
        kv_cache_dtype=server.kv_cache_dtype,
        max_model_len=server.max_model_len,
        max_num_batched_tokens=server.max_num_batched_tokens,
        max_num_seqs=server.max_num_seqs,
        layout=Layout(
            server.tensor_parallel_size,
            server.pipeline_parallel_size,
            server.data_parallel_size,
            server.expert_parallel,
            server.context_parallel_size,
        ),
    )
    return standing_options(role, place, catalog, had, len(servers), pacing)


def block_of(fleet: Fleet, group: GPUGroup) -> Block | None:
    """Return GPUs of a plan as a block of the fleet; None when it has none there."""
    width = len(group.gpu_indices)
    for position, pool in enumerate(fleet.pools):
        first = group.gpu_indices[0] - pool.gpu_index
        inside = 0 <= first <= pool.gpus_per_node - width and first % width == 0
        if group.node in pool.node_names and inside:
            return Block(position, pool.node_names.index(group.node), first, width)
    return None


def _followed(problem: Problem, fresh: Choices, old: Sequence[Earlier]) -> Iterator[list[Choice | None]]:
    """Yield choices that follow the earlier ones: also in what is left out, as far as they are there, or role by role.

    Role by role, those are taken that are worth the same; the roles of a team are taken together.
    """
    exact = [_choice(one) for one in old]
    if any(exact) and all(choice or role.optional for choice, role in zip(exact, problem.roles, strict=True)):
        yield exact
    there = [one or choice for one, choice in zip(exact, fresh, strict=True)]
    alike = [
        mine if mine and _weight(problem, role, mine) == _weight(problem, role, choice) else choice
        for role, (mine, choice) in enumerate(zip(exact, fresh, strict=True))
    ]
    for team in problem.teams:
        if exact[team.roles[0]]:
            same = _worth_of(problem, team, exact) == _worth_of(problem, team, fresh)
            for role in team.roles:
                there[role], alike[role] = exact[role], exact[role] if same else fresh[role]
    yield there
    yield alike


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


def _worth_of(problem: Problem, team: Team, choices: Choices) -> tuple[int, ...]:
    """Return what a team adds to every stage but cost, and the bytes it leaves free, counted from none."""
    beyond = surplus(problem, team, _decided(choices))
    wasted = [beyond * each for each in (*team.worth, 0)]
    each = [_weight(problem, role, choices[role]) for role in team.roles]
    return tuple(sum(column) - less for less, *column in zip(wasted, *each, strict=True))


def _rank(problem: Problem, choices: Choices, board: Board) -> tuple[int, ...]:
    """Return the value of every stage, and of headroom from an arbitrary zero."""
    headroom = sum(_weight(problem, role, choice)[-1] for role, choice in enumerate(choices))
    if problem.turns:  # what is left free depends on who is beside whom
        headroom = sum(board.free)
    return (*value(problem, _decided(choices), board), headroom)


def _decided(choices: Choices) -> list[Decided]:
    return [(choice.candidate, choice.sequences) if choice else None for choice in choices]


def _boards(problem: Problem, choices: Choices, wanted: Sequence[tuple[Block, ...]]) -> Iterator[Board]:
    """Yield boards with servers on the blocks that are wanted where they fit, and the others where there is room.

    Those for which blocks are wanted go first, or else the widest and largest, as in a new plan; the others go to the
    emptiest GPUs, or else to the fullest.
    """
    items: list[tuple[int, Candidate, int, tuple[Block, ...]]] = []
    for role, choice in enumerate(choices):
        if choice:
            one = problem.roles[role].candidates[choice.candidate]
            fitting = all((block.pool, block.width) == (one.pool, one.width) for block in wanted[role])
            items.append((role, one, choice.sequences, wanted[role] if fitting else ()))
    items.sort(key=lambda item: (-item[1].width, -item[1].footprint(item[2]), item[0]))
    for order in (sorted(items, key=lambda item: not item[3]), items):
        for emptiest in (False,) if COST in problem.stages else (True, False):
            board = Board(problem)
            for role, one, count, there in order:
                if there:
                    board.keep(role, one, count, there)
            if all(board.put(role, one, count, emptiest=emptiest) for role, one, count, _ in order):
                yield board


def _stays(problem: Problem, choices: Choices, old: Sequence[Earlier]) -> tuple[int, int]:
    """Return how many roles have what they had, and how many servers are where one of their role was."""
    same = servers = 0
    for role, (choice, one) in enumerate(zip(choices, old, strict=True)):
        if choice:
            same += one.same(choice)
            stages = problem.roles[role].candidates[choice.candidate].stages
            now, before = (Counter(by_server(blocks, stages)) for blocks in (choice.blocks, one.blocks))
            servers += (now & before).total()
    return same, servers


def _crowding(board: Board) -> list[int]:
    """Return how many servers are on the GPUs, the fullest first."""
    return sorted((len(there) for there in board.on), reverse=True)


def _answer(problem: Problem, fresh: Answer, choices: Choices, board: Board) -> Answer:
    rank, before = _rank(problem, choices, board), _rank(problem, fresh.choices, board)
    values = [*rank[:-1], fresh.stages[-1].value + rank[-1] - before[-1]]
    assert [stage.name for stage in fresh.stages] == [*problem.stages, HEADROOM]
    proven, stages = True, []
    for stage, reached in zip(fresh.stages, values, strict=True):
        bound = max(stage.bound, reached) if reached != stage.value else stage.bound
        proven = proven and (stage.proven if reached == stage.value else reached == bound)
        stages.append(StageValue(name=stage.name, value=reached, bound=bound, proven=proven))
    made = [choice and replace(choice, blocks=board.blocks(role)) for role, choice in enumerate(choices)]
    return replace(fresh, choices=tuple(made), stages=tuple(stages))
