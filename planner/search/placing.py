"""Where servers go: the GPUs, added to the model of the choice.

Every role has one integer per block of GPUs that it may use: how many of its servers are there, or have a stage there.
What a role takes of a GPU is its footprint for each of them; a row per GPU keeps the sum within the capacity.

Which stages belong to one server is left open. They can be dealt out to the servers when no node has more of them than
there are servers (stages across nodes), or when every node has those of a whole number of servers and no block has more
than that (stages inside a node): ``deal`` does it.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import replace

from planner.search.cp_sat import cp_model
from planner.search.model import Model, Row, footprint, taking_turns
from planner.search.problem import COST, Answer, Block, Candidate, Problem, Turn, by_server
from planner.search.turns import GPU

Node = tuple[int, int]
"""A pool, and the position of a node in it."""


class Placing:
    """A model with the blocks of every role: ``servers[role, block]`` counts servers, or stages of servers.

    Memory is counted by the role, whose footprint is a variable, or ``by_size``, for candidates with settled sequences:
    the first is found quickly where there is much room, the second proves much faster where there is little.
    """

    def __init__(self, model: Model, *, by_size: bool = False) -> None:
        self.model = model
        self.servers: dict[tuple[int, Block], cp_model.IntVar] = {}
        self._levels: dict[tuple[int, GPU], list[cp_model.IntVar]] = {}
        self._loads: dict[GPU, list[cp_model.LinearExprT]] = {gpu: [] for gpu in gpus(model.problem)}
        self._turning = model.problem.turning
        self._awake: dict[tuple[int, GPU], list[cp_model.LinearExprT]] = {}
        self._asleep: dict[tuple[int, GPU], list[cp_model.LinearExprT]] = {}
        for role in range(len(model.problem.roles)):
            self._add_blocks(role)
            self._add_levels(role)
            rows: dict[bool, list[Row]] = {True: [], False: []}
            for row in model.rows(role):
                rows[by_size and row[1].least == row[1].most].append(row)
            self._add_sizes(role, rows[True])
            self._add_loads(role, rows[False])
        self._add_rows()

    def hint(self, answer: Answer) -> None:
        """Have the solver begin at an answer."""
        cp = self.model.cp
        for role, choice in enumerate(answer.choices):
            decided = choice and (role, choice.candidate)
            for key, _ in self.model.rows(role):
                cp.add_hint(self.model.chosen[key], key == decided)
                cp.add_hint(self.model.sequences[key], choice.sequences if choice and key == decided else 0)
            there = Counter(choice.blocks if choice else ())
            for (other, block), count in self.servers.items():
                if other == role:
                    cp.add_hint(count, there[block])

    def _add_blocks(self, role: int) -> None:
        """As many blocks as the chosen candidate needs, of its width in its pool."""
        cp, found = self.model.cp, self.model.problem.roles[role]
        for pool, width in sorted({(candidate.pool, candidate.width) for candidate in found.candidates}):
            allowed = list(blocks(self.model.problem, pool, width))
            for block in allowed:
                self.servers[role, block] = cp.new_int_var(0, found.stacked, f"{found.name}@{block}")
            rows = [row for row in self.model.rows(role, pool) if row[1].width == width]
            here = cp_model.LinearExpr.sum([self.servers[role, block] for block in allowed])
            cp.add(here == self.model.line(rows, lambda c: c.blocks * c.stages, lambda c: 0))
        if found.spread or any(candidate.across for candidate in found.candidates):
            self._limit_nodes(role)
        for pool, width, stages in sorted(
            {(c.pool, c.width, c.stages) for c in found.candidates if c.stages > 1 and not c.across}
        ):
            self._keep_inside(role, pool, width, stages)
        if role in self.model.moved:
            self._count_moved(role)

    def _count_moved(self, role: int) -> None:
        """Servers of an earlier plan stay where all of their blocks have one of the role; the others are moved."""
        cp, found = self.model.cp, self.model.problem.roles[role]
        rows = [row for row in self.model.rows(role) if row[1].stays]
        before = Counter(server for c in {c.stays: c for _, c in rows}.values() for server in _were(c))
        stay = {server: cp.new_int_var(0, count, f"{found.name}@{server}.stays") for server, count in before.items()}
        on: dict[Block, list[cp_model.IntVar]] = {}
        for server, count in stay.items():
            for block in server:
                on.setdefault(block, []).append(count)
        for block, counts in on.items():
            cp.add(cp_model.LinearExpr.sum(counts) <= self.servers[role, block])
        most = self.model.line(rows, lambda c: min(c.blocks, len(c.stays) // c.stages), lambda c: 0)
        cp.add(self.model.moved[role] >= most - cp_model.LinearExpr.sum(list(stay.values())))

    def _limit_nodes(self, role: int) -> None:
        """A node has one stage of each server, or all when they are not across; of one server when these are spread."""
        # Not on one node: fleet/placement.py refuses it, search/board.py packs by it, check/placement.py checks it.
        spread = self.model.problem.roles[role].spread

        def most(candidate: Candidate) -> int:
            return (1 if spread else candidate.blocks) * (1 if candidate.across else candidate.stages)

        for (pool, _), counts in self._by_node(role).items():
            limit = self.model.line(list(self.model.rows(role, pool)), most, lambda c: 0)
            self.model.cp.add(cp_model.LinearExpr.sum(counts) <= limit)

    def _keep_inside(self, role: int, pool: int, width: int, stages: int) -> None:
        """Every node has all stages of so many servers, each of them on blocks that differ."""
        cp, found = self.model.cp, self.model.problem.roles[role]
        label = f"{found.name}@{pool}.{width}x{stages}"
        rows = [row for row in self.model.rows(role, pool) if (row[1].width, row[1].stages) == (width, stages)]
        chosen = cp.new_bool_var(label)
        cp.add(self.model.line(rows, lambda c: int(not c.across), lambda c: 0) == chosen)
        for (where, node), counts in self._by_node(role, width).items():
            if where != pool:
                continue
            whole = cp.new_int_var(0, max(candidate.blocks for _, candidate in rows), f"{label}.{node}")
            cp.add(cp_model.LinearExpr.sum(counts) == stages * whole).only_enforce_if(chosen)
            for count in counts:
                cp.add(count <= whole).only_enforce_if(chosen)

    def _by_node(self, role: int, width: int | None = None) -> dict[Node, list[cp_model.IntVar]]:
        """Return the counts of a role's blocks by pool and position of the node."""
        found: dict[Node, list[cp_model.IntVar]] = {}
        for (other, block), count in self.servers.items():
            if other == role and width in (None, block.width):
                found.setdefault((block.pool, block.node), []).append(count)
        return found

    def _add_levels(self, role: int) -> None:
        """How many servers of a role a GPU has, at least one, at least two and so on."""
        cp, found = self.model.cp, self.model.problem.roles[role]
        for gpu in self._loads:
            counts = [count for (other, block), count in self.servers.items() if other == role and gpu in block.gpus]
            if not counts:
                continue
            levels = [cp.new_bool_var(f"{found.name}@{gpu}>={level}") for level in range(1, found.stacked + 1)]
            cp.add(cp_model.LinearExpr.sum(counts) == cp_model.LinearExpr.sum(levels))
            for fewer, more in itertools.pairwise(levels):
                cp.add_implication(more, fewer)
            self._levels[role, gpu] = levels

    def _add_loads(self, role: int, rows: list[Row]) -> None:
        """What a role takes of each GPU: the footprint of the chosen one of these, if any, for every server there."""
        if not rows:
            return
        cp, problem = self.model.cp, self.model.problem
        found = problem.roles[role]
        largest = max(pool.capacity for pool in problem.pools)
        size = footprint(self.model, rows, found.name, largest, lambda c: 1)
        for gpu, loads in self._loads.items():
            if levels := self._levels.get((role, gpu)):
                load = cp.new_int_var(0, problem.pools[gpu[0]].capacity, f"{found.name}@{gpu}.bytes")
                for level, reached in enumerate(levels, 1):
                    cp.add(load >= level * size).only_enforce_if(reached)
                if role in self._turning:
                    self._awake.setdefault((role, gpu), []).append(load)
                    self._asleep.setdefault((role, gpu), []).append(self._kept(role, gpu, rows))
                else:
                    loads.append(load)

    def _kept(self, role: int, gpu: GPU, rows: list[Row]) -> cp_model.IntVar:
        """What a role that takes turns keeps of a GPU asleep."""
        name = f"{self.model.problem.roles[role].name}@{gpu}.asleep"
        load = self.model.cp.new_int_var(0, self.model.problem.pools[gpu[0]].capacity, name)
        size = self.model.line(rows, lambda c: c.asleep, lambda c: 0)
        for level, reached in enumerate(self._levels[role, gpu], 1):
            self.model.cp.add(load >= level * size).only_enforce_if(reached)
        return load

    def _add_sizes(self, role: int, settled: list[Row]) -> None:
        """The same with one integer per block and footprint: many more of them, with much tighter bounds."""
        cp, found = self.model.cp, self.model.problem.roles[role]
        sizes: dict[tuple[int, int, int, int], list[Row]] = {}
        for row in settled:
            candidate = row[1]
            size = candidate.footprint(candidate.least)
            sizes.setdefault((candidate.pool, candidate.width, size, candidate.asleep), []).append(row)
        parts: dict[Block, list[cp_model.IntVar]] = {}
        for (pool, width, size, asleep), rows in sizes.items():
            counts = []
            for block in blocks(self.model.problem, pool, width):
                count = cp.new_int_var(0, found.stacked, f"{found.name}@{block}.{size}")
                counts.append(count)
                parts.setdefault(block, []).append(count)
                for gpu in block.gpus:
                    if role in self._turning:
                        self._awake.setdefault((role, gpu), []).append(size * count)
                        self._asleep.setdefault((role, gpu), []).append(asleep * count)
                    else:
                        self._loads[gpu].append(size * count)
            needed = self.model.line(rows, lambda c: c.blocks * c.stages, lambda c: 0)
            cp.add(cp_model.LinearExpr.sum(counts) == needed)
        whole = len(settled) == len(found.candidates)
        for block, some in parts.items():
            here = cp_model.LinearExpr.sum(some)
            cp.add(here == self.servers[role, block] if whole else here <= self.servers[role, block])

    def _add_rows(self) -> None:
        """Each GPU holds what is on it; roles that may not share are apart; GPUs in use are counted."""
        cp, problem = self.model.cp, self.model.problem
        for number, turn in enumerate(problem.turns):
            self._add_turn(number, turn)
        for gpu, loads in self._loads.items():
            cp.add(cp_model.LinearExpr.sum(loads) <= problem.pools[gpu[0]].capacity)
        for one, other in sorted(problem.apart):
            for gpu in self._loads:
                if (one, gpu) in self._levels and (other, gpu) in self._levels:
                    cp.add_at_most_one(self._levels[one, gpu][0], self._levels[other, gpu][0])
        if COST in problem.stages:
            self._count_paid()

    def _add_turn(self, number: int, turn: Turn) -> None:
        """A group that takes turns takes of each GPU what its largest awake set does; of a pool, no less than that."""
        by_pool: dict[int, list[cp_model.LinearExprT]] = {}
        for gpu, loads in self._loads.items():
            here = [role for role in turn.roles if (role, gpu) in self._awake]
            awake = {role: cp_model.LinearExpr.sum(self._awake[role, gpu]) for role in here}
            asleep = {role: cp_model.LinearExpr.sum(self._asleep[role, gpu]) for role in here}
            capacity = self.model.problem.pools[gpu[0]].capacity
            load = taking_turns(self.model, turn, awake, asleep, f"turn[{number}]@{gpu}", capacity)
            loads.append(load)
            by_pool.setdefault(gpu[0], []).append(load)
        for pool, parts in by_pool.items():
            self.model.cp.add(self.model.shared[number, pool] >= cp_model.LinearExpr.sum(parts))

    def _count_paid(self) -> None:
        """Count the GPUs, or the nodes that are paid whole, that have a server."""
        for pool, total in enumerate(self.model.paid):
            flags: dict[tuple[int, ...], cp_model.IntVar] = {}
            for gpu in self._loads:
                if gpu[0] != pool:
                    continue
                unit = gpu if self.model.problem.pools[pool].paid == 1 else gpu[:2]
                if unit not in flags:
                    flags[unit] = self.model.cp.new_bool_var(f"{unit}.used")
                for role in range(len(self.model.problem.roles)):
                    if (role, gpu) in self._levels:
                        self.model.cp.add_implication(self._levels[role, gpu][0], flags[unit])
            self.model.cp.add(cp_model.LinearExpr.sum(list(flags.values())) <= total)


def gpus(problem: Problem) -> Iterator[GPU]:
    """Yield every GPU as pool, position of its node in the pool, position in the node."""
    for pool, shape in enumerate(problem.pools):
        for node in range(len(shape.nodes)):
            for index in range(shape.width):
                yield pool, node, index


def sizes(problem: Problem) -> int:
    """Return how many counts a model has ``by_size``: one for each block and each footprint of a role."""
    found = (
        (pool, width)
        for role in problem.roles
        for pool, width, _ in {(c.pool, c.width, c.footprint(c.least)) for c in role.candidates if c.least == c.most}
    )
    return sum(problem.pools[pool].width // width * len(problem.pools[pool].nodes) for pool, width in found)


def blocks(problem: Problem, pool: int, width: int) -> Iterator[Block]:
    """Yield the blocks of a width in a pool; they begin at multiples of their width, so that they nest."""
    shape = problem.pools[pool]
    for node in range(len(shape.nodes)):
        for first in range(0, shape.width - width + 1, width):
            yield Block(pool, node, first, width)


def _were(candidate: Candidate) -> list[tuple[Block, ...]]:
    """Return the servers of an earlier plan that are like a candidate's."""
    return by_server(candidate.stays, candidate.stages)


def deal(candidate: Candidate, taken: Iterable[Block]) -> tuple[Block, ...]:
    """Return the blocks of a candidate's servers, those of a server's stages one after another.

    Servers of an earlier plan whose blocks are all there come first. Of the others neighbours go together where that
    keeps the stages of a server apart. Otherwise the blocks are dealt out one by one, which always does: as many in a
    row as there are servers have nothing in common with one another.
    """
    found = sorted(taken)
    if candidate.stages == 1:
        return tuple(found)
    if stayed := _stayed(candidate, found):
        left = Counter(found) - Counter(block for server in stayed for block in server)
        rest = deal(replace(candidate, stays=()), left.elements())
        if _apart(candidate, rest):
            servers = sorted([*stayed, *by_server(rest, candidate.stages)])
            return tuple(block for server in servers for block in server)
    if candidate.across:
        return tuple(_dealt(found, candidate.stages, lambda block: (block.pool, block.node)))
    nodes = itertools.groupby(found, lambda block: (block.pool, block.node))
    return tuple(block for _, group in nodes for block in _dealt(list(group), candidate.stages, lambda block: block))


def _stayed(candidate: Candidate, found: Iterable[Block]) -> list[tuple[Block, ...]]:
    """Return servers of an earlier plan all of whose blocks are among these, none of which is counted twice."""
    left, stayed = Counter(found), []
    for server in _were(candidate):
        if Counter(server) <= left:
            left -= Counter(server)
            stayed.append(server)
    return stayed


def _apart(candidate: Candidate, rest: tuple[Block, ...]) -> bool:
    """Whether the stages of each server are on blocks, or nodes, that differ."""
    for server in by_server(rest, candidate.stages):
        nodes = {(block.pool, block.node) for block in server}
        if len(set(server)) < candidate.stages or len(nodes) != (candidate.stages if candidate.across else 1):
            return False
    return True


def _dealt(found: list[Block], stages: int, apart: Callable[[Block], object]) -> Iterator[Block]:
    servers = by_server(found, stages)
    if any(len({apart(block) for block in server}) < stages for server in servers):
        servers = [tuple(found[first :: len(servers)]) for first in range(len(servers))]
    return (block for server in sorted(servers) for block in server)
