"""Where servers go: the GPUs, added to the model of the choice.

Every role has one integer per block of GPUs that it may use: how many of its servers are there. What a role takes of a
GPU is its footprint for each of them; a row per GPU keeps the sum within the capacity.
"""

import itertools
from collections.abc import Iterator

from ortools.sat.python import cp_model

from planner.solve.model import Model, footprint
from planner.solve.problem import COST, Block, Problem

GPU = tuple[int, int, int]


class Placing:
    """A model with the blocks of every role: ``servers[role, block]`` counts servers."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.servers: dict[tuple[int, Block], cp_model.IntVar] = {}
        self._on: dict[tuple[int, GPU], cp_model.IntVar] = {}
        self._loads: dict[GPU, list[cp_model.IntVar]] = {gpu: [] for gpu in gpus(model.problem)}
        for role in range(len(model.problem.roles)):
            self._add_blocks(role)
            self._add_loads(role)
        self._add_rows()

    def _add_blocks(self, role: int) -> None:
        """As many servers as the chosen candidate has, on blocks of its width in its pool."""
        cp, found = self.model.cp, self.model.problem.roles[role]
        for pool, width in sorted({(candidate.pool, candidate.width) for candidate in found.candidates}):
            allowed = list(blocks(self.model.problem, pool, width))
            for block in allowed:
                self.servers[role, block] = cp.new_int_var(0, found.stacked, f"{found.name}@{block}")
            rows = [row for row in self.model.rows(role, pool) if row[1].width == width]
            here = cp_model.LinearExpr.sum([self.servers[role, block] for block in allowed])
            cp.add(here == self.model.line(rows, lambda c: c.blocks, lambda c: 0))
        if found.spread:
            self._spread(role)

    def _spread(self, role: int) -> None:
        """At most one server of a role on a node."""
        per_node: dict[int, list[cp_model.IntVar]] = {}
        for (other, block), count in self.servers.items():
            if other == role:
                node = self.model.problem.pools[block.pool].nodes[block.node]
                per_node.setdefault(node, []).append(count)
        for counts in per_node.values():
            self.model.cp.add(cp_model.LinearExpr.sum(counts) <= 1)

    def _add_loads(self, role: int) -> None:
        """What a role takes of each GPU: nothing, or its footprint for every server there."""
        cp, problem = self.model.cp, self.model.problem
        found = problem.roles[role]
        largest = max(pool.capacity for pool in problem.pools)
        rows = list(self.model.rows(role))
        size = footprint(self.model, rows, found.name, largest, lambda c: 1)
        for gpu in self._loads:
            counts = [count for (other, block), count in self.servers.items() if other == role and gpu in block.gpus]
            if not counts:
                continue
            levels = [cp.new_bool_var(f"{found.name}@{gpu}>={level}") for level in range(1, found.stacked + 1)]
            cp.add(cp_model.LinearExpr.sum(counts) == cp_model.LinearExpr.sum(levels))
            load = cp.new_int_var(0, problem.pools[gpu[0]].capacity, f"{found.name}@{gpu}.bytes")
            for level, reached in enumerate(levels, 1):
                cp.add(load >= level * size).only_enforce_if(reached)
            for fewer, more in itertools.pairwise(levels):
                cp.add_implication(more, fewer)
            self._on[role, gpu] = levels[0]
            self._loads[gpu].append(load)

    def _add_rows(self) -> None:
        """Each GPU holds what is on it; roles that may not share are apart; GPUs in use are counted."""
        cp, problem = self.model.cp, self.model.problem
        for gpu, loads in self._loads.items():
            cp.add(cp_model.LinearExpr.sum(loads) <= problem.pools[gpu[0]].capacity)
        for one, other in sorted(problem.apart):
            for gpu in self._loads:
                if (one, gpu) in self._on and (other, gpu) in self._on:
                    cp.add_at_most_one(self._on[one, gpu], self._on[other, gpu])
        if COST in problem.stages:
            self._count_used()

    def _count_used(self) -> None:
        for pool, total in enumerate(self.model.used):
            flags = []
            for gpu in self._loads:
                if gpu[0] != pool:
                    continue
                flag = self.model.cp.new_bool_var(f"{gpu}.used")
                flags.append(flag)
                for role in range(len(self.model.problem.roles)):
                    if (role, gpu) in self._on:
                        self.model.cp.add_implication(self._on[role, gpu], flag)
            self.model.cp.add(cp_model.LinearExpr.sum(flags) <= total)


def gpus(problem: Problem) -> Iterator[GPU]:
    """Yield every GPU as pool, position of its node in the pool, position in the node."""
    for pool, shape in enumerate(problem.pools):
        for node in range(len(shape.nodes)):
            for index in range(shape.width):
                yield pool, node, index


def blocks(problem: Problem, pool: int, width: int) -> Iterator[Block]:
    """Yield the blocks of a width in a pool; they begin at multiples of their width, so that they nest."""
    shape = problem.pools[pool]
    for node in range(len(shape.nodes)):
        for first in range(0, shape.width - width + 1, width):
            yield Block(pool, node, first, width)
