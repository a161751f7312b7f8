"""Search: the best answer to a problem, with proof where the budget allows.

First the choice alone, with memory counted per pool: its optimum is a bound on every plan, and when its servers find
places it is the optimum. On one GPU they always do. Otherwise the GPUs join the model.
"""

import hashlib

from planner.solve.model import Model, build
from planner.solve.packing import Decided, pack
from planner.solve.placing import Placing
from planner.solve.problem import COST, Answer, Block, Choice, Problem
from planner.solve.stages import BUDGET, Chain, run, run_chain


def optimise(problem: Problem, budget: int = BUDGET) -> Answer | None:
    """Return the best choices and places, or None when it is proven that there are none.

    Raises:
        BudgetSpent: neither was shown within the budget.
    """
    model = build(problem)
    digest = hashlib.sha256(str(model.cp.proto).encode()).hexdigest()
    chain = run_chain(model, budget)
    if chain is None:
        return None
    decided = _decided(model, chain)
    if places := pack(problem, decided, _most_gpus(model, chain)):
        return _answer(decided, places, chain, digest)
    model = build(problem)
    placing = Placing(model)
    bound = chain.stages[0].bound
    model.cp.add(model.stage(0) <= bound)
    chain = run_chain(model, budget)
    if chain is None:
        return None
    decided = _decided(model, chain)
    places = pack(problem, decided, _most_gpus(model, chain)) or _places(placing, chain)
    return _answer(decided, places, chain, digest)


def feasible(problem: Problem, budget: int = BUDGET) -> bool:
    """Whether any choice satisfies the problem.

    Raises:
        BudgetSpent: the solver could not tell.
    """
    model = build(problem)
    if sum(pool.gpus for pool in problem.pools) > 1:
        Placing(model)
    return run(model, budget) is not None


def _decided(model: Model, chain: Chain) -> list[Decided]:
    """Read the candidate and the sequences of every role."""
    found: list[Decided] = []
    for role in range(len(model.problem.roles)):
        keys = [key for key, _ in model.rows(role) if chain.solver.boolean_value(model.chosen[key])]
        found.append((keys[0][1], chain.solver.value(model.sequences[keys[0]])) if keys else None)
    return found


def _most_gpus(model: Model, chain: Chain) -> list[int] | None:
    """Return the GPUs in use of each pool where their number was minimised."""
    return [chain.solver.value(used) for used in model.used] if COST in model.problem.stages else None


def _places(placing: Placing, chain: Chain) -> list[tuple[Block, ...]]:
    """Read the solver's own places, which are as good as any."""
    places: list[list[Block]] = [[] for _ in placing.model.problem.roles]
    for (role, block), count in placing.servers.items():
        places[role] += [block] * chain.solver.value(count)
    return [tuple(sorted(found)) for found in places]


def _answer(decided: list[Decided], places: list[tuple[Block, ...]], chain: Chain, digest: str) -> Answer:
    choices = [
        choice and Choice(candidate=choice[0], sequences=choice[1], blocks=blocks)
        for choice, blocks in zip(decided, places, strict=True)
    ]
    return Answer(choices=tuple(choices), stages=chain.stages, model_sha256=digest)
