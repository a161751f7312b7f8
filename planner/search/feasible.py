"""Feasible: whether a problem has any plan, by counting, by packing, and only then by the solver.

Whoever explains why there is no plan asks this hundreds of times, of problems with as many servers as a plan may have:
most answers need no solver.
"""

from planner.search.budget import BUDGET
from planner.search.chain import run
from planner.search.decompose import smallest
from planner.search.model import build
from planner.search.packing import fullest
from planner.search.pieces import pieces
from planner.search.placing import Placing
from planner.search.problem import Candidate, Problem
from planner.search.watch import go_on
from planner.units import ceil_div


def feasible(problem: Problem, budget: int = BUDGET) -> bool:
    """Whether any choice satisfies the problem.

    Raises:
        BudgetSpent: the solver could not tell.
    """
    go_on()
    found = pieces(problem)
    if not found.served or _crowded(found.problem):
        return False
    if _packed(found.problem):
        return True
    model = build(found.problem)
    if sum(pool.gpus for pool in problem.pools) > 1 or problem.apart or any(role.spread for role in problem.roles):
        Placing(model)
    return run(model, budget) is not None


def _crowded(problem: Problem) -> bool:
    """Whether the roles that share with nobody leave too few GPUs for the servers of another one."""
    least = [
        0 if role.optional else min(_fewest(problem, position, one) for one in role.candidates)
        for position, role in enumerate(problem.roles)
    ]
    alone = [problem.alone(position) for position in range(len(least))]
    taken = sum(count for count, own in zip(least, alone, strict=True) if own)
    others = max((count for count, own in zip(least, alone, strict=True) if not own), default=0)
    return taken + others > sum(pool.gpus for pool in problem.pools)


def _fewest(problem: Problem, role: int, candidate: Candidate) -> int:
    """Return the GPUs that the servers of a candidate need at least, with nobody else on them."""
    size, capacity = candidate.footprint(candidate.least), problem.pools[candidate.pool].capacity
    together = min(problem.roles[role].stacked, capacity // max(1, size))
    return candidate.width * ceil_div(candidate.blocks * candidate.stages, together)


def _packed(problem: Problem) -> bool:
    """Whether the smallest candidates find places where no other rule decides; where not, others may."""
    decided = [smallest(problem, position) for position in range(len(problem.roles))]
    ruled = problem.teams or problem.floors or any(one.barred for role in problem.roles for one in role.candidates)
    return not ruled and any(decided) and fullest(problem, decided) is not None
