"""Search: the best answer to a problem, with proof where the budget allows.

First the choice alone, with memory counted per pool: its optimum is a bound on every plan, and when its servers find
places it is the optimum. On one GPU they always do. Otherwise the GPUs join the model, as long as they are few; where
they are many, the choice is packed with a little memory to spare, and the bound says how far from the best that can be.
"""

import contextlib
import hashlib
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from planner.search.answers import left_free, packed_answer, placed_answer
from planner.search.bounds import Bounds
from planner.search.budget import BUDGET, BudgetSpent, spending
from planner.search.chain import (
    HEADROOM,
    Chain,
    ceilings,
    choices,
    confirmed,
    maximise_first,
    reached,
    relaxed,
    run_chain,
    weighing,
)
from planner.search.cp_sat import CpSolver
from planner.search.decompose import Packed, decompose, filled, packed_as
from planner.search.model import Model, build
from planner.search.narrow import narrowed
from planner.search.nested import nested
from planner.search.packing import pack
from planner.search.pieces import Pieces, pieces
from planner.search.placing import Placing, blocks, deal, sizes
from planner.search.problem import COST, MINIMAL_CHANGE, Answer, Block, Decided, Problem, StageValue
from planner.search.watch import step, stopped

FEW = 400
"""Places of all roles together up to which the GPUs join the model at once: proofs take seconds there."""

_SOME = 3_000
"""Places, of what can be in a better plan, up to which they join it after a plan has been found without them."""

_LARGEST = 50_000
"""Counts of servers up to which the model for proofs is built: with four times as many a solve takes 27 s of CPU and
900 MiB before its clock has run for one, and finds nothing."""

_QUICK = 5
"""Deterministic seconds for the first stage, after which the model of places is changed for the one made for proofs."""

_BOUND = 2
"""Deterministic seconds for the bound of each stage after the first that is not proven."""

_POLISH = 10
"""Deterministic seconds per solve for improving on a plan that is there already."""


def optimise(problem: Problem, budget: int = BUDGET) -> Answer | None:
    """Return the best choices and places, or None when it is proven that there are none.

    Raises:
        BudgetSpent: neither was shown within the budget.
    """
    with spending(budget):
        try:
            step("leaving out what others beat")
            return _answered(pieces(problem), budget)
        except BudgetSpent as error:
            if stopped() and (packed := filled(problem)):  # before what is left of the problem was known
                answer = packed_answer(problem, packed, ceilings(problem)[problem.stages[0]], digest="")
                return replace(answer, interrupted=True)
            raise BudgetSpent(budget) from error


def _answered(found: Pieces, budget: int) -> Answer | None:
    """Return the best answer to the problem that pieces were made from."""
    if not found.served:
        return None
    step("pricing what is left")
    model = build(found.problem)
    digest = hashlib.sha256(str(model.cp.proto).encode()).hexdigest()
    limits = Bounds(found.problem, weighing(model))
    del model  # a large one takes as much memory as all that follows
    answer = _optimise(limits, budget, digest)
    if answer is None:
        return None
    if not all(stage.proven for stage in answer.stages):
        stages = _bounded(limits, answer, budget)
        answer = replace(answer, stages=left_free(found.problem, answer, stages))
    return replace(found.original(answer), interrupted=stopped())


def _bounded(limits: Bounds, answer: Answer, budget: int) -> tuple[StageValue, ...]:
    """Return the stages of an answer with bounds as low as the choice alone shows, unless nobody waits for that."""
    if stopped():
        return answer.stages
    part = limits.part(limits.weighing.sum([stage.value for stage in answer.stages]))
    with contextlib.suppress(BudgetSpent):
        return tuple(relaxed(build(part.problem), answer.stages, min(budget, _BOUND)))
    return answer.stages


def _optimise(limits: Bounds, budget: int, digest: str) -> Answer | None:
    """Return the best answer to a problem whose candidates are pieces."""
    problem = limits.problem
    with contextlib.suppress(BudgetSpent):
        if answer := _nested(limits, budget, digest):
            return answer
    found = _Relaxed([], limits.weighing.first(limits.total), limits.total)
    with contextlib.suppress(BudgetSpent):
        relaxed_or_none = _relaxed(limits, budget, digest)
        if relaxed_or_none is None or isinstance(relaxed_or_none, Answer):
            return relaxed_or_none
        found = relaxed_or_none
    try:
        if places(problem) <= FEW:
            return _whole(limits, budget, digest, (found.first, found.total))
    except BudgetSpent:
        return _filled(problem, found.first, digest, budget)
    packed = decompose(problem, limits.weighing, budget, found.first)
    packed = packed or (packed_as(problem, found.decided) if found.decided else None)
    if packed is None:
        return _filled(problem, found.first, digest, budget)
    return _polished(limits, packed, budget, digest, found.first)


def _nested(limits: Bounds, budget: int, digest: str) -> Answer | None:
    """Return the best choice by what blocks of GPUs hold, where the solver finds places for it; None where not.

    Raises:
        BudgetSpent: it could not tell.
    """
    decided = nested(limits) if places(limits.problem) <= _SOME else None
    if decided is None:
        return None
    part = limits.only(decided)
    model = build(part.problem)
    placing = Placing(model)
    chain = confirmed(model, budget)
    if chain is None:
        return None
    chosen = choices(model, chain.solver)
    found = pack(part.problem, chosen) or _solved_places(placing, chain, chosen)
    return part.original(placed_answer(chosen, found, chain.stages, digest))


class _Relaxed(Struct, frozen=True):
    """A choice that has no places yet; what the first stage, and the sum of the first ones, cannot exceed."""

    decided: list[Decided]
    first: int
    total: int


def _relaxed(limits: Bounds, budget: int, digest: str) -> _Relaxed | Answer | None:
    """Return the best choice by what the pools hold as a whole; the answer where it has places; None if there is none.

    Where there are several GPUs it need not be proven: it only is a bound then.

    Raises:
        BudgetSpent: no choice was found, and it was not shown that there is none.
    """
    problem = limits.problem
    several = sum(pool.gpus for pool in problem.pools) > 1
    quick = min(budget, _QUICK) if several else budget
    large = places(problem) > _SOME  # its servers are packed in the end, by which later stages lose more than they gain
    each = min(budget, _QUICK) if places(problem) > FEW else budget
    found = _by_pools(
        limits, quick, lambda model: run_chain(model, each, canonical=not large, patience=_QUICK if several else None)
    )
    if found is None:
        return None
    part, model, chain = found
    decided = choices(model, chain.solver)
    first, total = chain.stages[0], min(limits.total, limits.weighing.sum([stage.bound for stage in chain.stages]))
    if _summed(problem) and (first.proven or not several or places(problem) > FEW):
        packed = pack(part.problem, decided, _most_gpus(model, chain.solver), _stays(chain.stages))
        if packed:
            return part.original(placed_answer(decided, packed, chain.stages, digest))
    return _Relaxed(part.decided(decided), first.bound, total)


def _by_pools(
    limits: Bounds, quick: int, settle: Callable[[Model], Chain | None]
) -> tuple[Pieces, Model, Chain] | None:
    """Return what a best choice can have, and how all its stages settle; None when no choice fits the pools.

    A model knows more of the sizes of candidates that have lost their few sequences, so that what was reached with them
    may be out of reach then. What is left is no proof of all plans in that case, and less is left out.
    """
    values: list[int] = []

    def reach(some: Pieces) -> list[int] | None:
        values[:] = _reached(build(some.problem), quick, len(limits.weighing.weights)) or []
        return values or None

    part = narrowed(limits, reach)
    if part is None:
        return None
    model = build(part.problem)
    chain = settle(model)
    most = limits.weighing.sum([stage.bound for stage in chain.stages]) if chain else limits.threshold(limits.count)
    if chain is None or most < limits.weighing.sum(values):
        part = limits.part(most)
        model = build(part.problem)
        chain = settle(model)
    return (part, model, chain) if chain else None


def _polished(limits: Bounds, packed: Packed, budget: int, digest: str, bound: int) -> Answer | None:
    """Return a packed plan, or a better one where what can be in one is little enough to decide about."""
    part = limits.part(limits.weighing.sum(packed.value))
    answer: Answer | None = None
    if places(part.problem) <= _SOME:
        with contextlib.suppress(BudgetSpent):
            answer = _settled(part, min(budget, _POLISH), digest, bound, packed.value[0])
    if answer is None or _values(answer) < packed.value:
        return packed_answer(limits.problem, packed, bound, digest)
    return answer


def _reached(model: Model, budget: int, stages: int) -> list[int] | None:
    """Return the values of the first so many stages of a plan that is as good in them as the budget allows."""
    solver = maximise_first(model, budget)
    return None if solver is None else reached(model, solver, stages)


def _summed(problem: Problem) -> bool:
    """Whether what is taken of all GPUs follows from the choices alone: not where turns are taken on some of them."""
    return not problem.turns or sum(pool.gpus for pool in problem.pools) == 1


def _filled(problem: Problem, bound: int, digest: str, budget: int) -> Answer:
    """Return a plan that took no solver, with what is known of the best one.

    Raises:
        BudgetSpent: there is none either.
    """
    packed = filled(problem)
    if packed is None:
        raise BudgetSpent(budget)
    return packed_answer(problem, packed, bound, digest)


def places(problem: Problem) -> int:
    """Return how many blocks of GPUs all roles together may use: the size of the model with GPUs."""
    shapes = [{(candidate.pool, candidate.width) for candidate in role.candidates} for role in problem.roles]
    count = {shape: sum(1 for _ in blocks(problem, *shape)) for shape in set().union(*shapes)}
    return sum(count[shape] for found in shapes for shape in found)


def _whole(limits: Bounds, budget: int, digest: str, most: tuple[int, int]) -> Answer | None:
    """Decide choices and places together; ``most`` is what the first stage, and the first ones weighed, cannot exceed.

    Raises:
        BudgetSpent: no plan was found, and it was not shown that there is none.
    """
    part = narrowed(
        limits, lambda some: _placed_values(some.problem, budget, most[0], len(limits.weighing.weights)), most[1]
    )
    return _settled(part, budget, digest, most[0]) if part else None


def _placed_values(problem: Problem, budget: int, bound: int, stages: int) -> list[int] | None:
    """Return the values of the first stages of a plan with places, found with either model."""
    for by_size in (False, True):
        model = build(problem)
        Placing(model, by_size=by_size)
        model.cp.add(model.stage(0) <= bound)
        try:
            return _reached(model, budget if by_size else min(budget, _QUICK), stages)
        except BudgetSpent:
            if by_size:
                raise
    return None


def _settled(part: Pieces, budget: int, digest: str, bound: int, least: int | None = None) -> Answer | None:
    """Settle all stages; the first cannot exceed ``bound`` and must be at least ``least``.

    The model that is usually fast is given a little time, and the one that proves what is hard the rest, from there.
    """
    quick: Answer | None = None
    try:
        quick = _placed(part.problem, budget, digest, (bound, least), patience=_QUICK)
        if quick is None or quick.stages[0].proven:
            return quick and part.original(quick)
        bound = quick.stages[0].bound
    except BudgetSpent:
        if budget <= _QUICK:
            raise
    if sizes(part.problem) > _LARGEST:
        if quick is None:
            raise BudgetSpent(budget)
        return part.original(quick)
    try:
        answer = _placed(part.problem, budget, digest, (bound, least), begun=quick)
    except BudgetSpent:
        if quick is None:
            raise
        answer = quick
    return answer and part.original(answer)


def _placed(
    problem: Problem,
    budget: int,
    digest: str,
    limits: tuple[int, int | None],
    patience: int | None = None,
    begun: Answer | None = None,
) -> Answer | None:
    """Decide with the model for proofs, or with the quick one for as long as there is ``patience``.

    ``limits`` are the most and the least of the first stage; the search begins at an answer that was ``begun`` with.
    """
    bound, reached = limits
    model = build(problem)
    placing = Placing(model, by_size=patience is None)
    if begun:
        placing.hint(begun)
    model.cp.add(model.stage(0) <= bound)
    if reached is not None:
        model.cp.add(model.stage(0) >= reached)
    chain = run_chain(model, budget, patience=patience)
    if chain is None:
        return None
    decided = choices(model, chain.solver)
    most, stays = _most_gpus(model, chain.solver), _stays(chain.stages)
    found = pack(problem, decided, most, stays) if _summed(problem) else None
    found = found or _solved_places(placing, chain, decided)
    first, *rest = chain.stages
    limit = min(first.bound, bound)
    first = replace(first, bound=limit, proven=first.value == limit)
    return placed_answer(decided, found, (first, *rest), digest)


def _most_gpus(model: Model, solver: CpSolver) -> list[int] | None:
    """Return the GPUs in use of each pool, or the nodes that are paid whole, where their price was minimised."""
    return [solver.value(paid) for paid in model.paid] if COST in model.problem.stages else None


def _stays(stages: Sequence[StageValue]) -> int:
    """Return how many servers stay as an earlier plan has them, where that was maximised."""
    return sum(stage.value for stage in stages if stage.name == MINIMAL_CHANGE)


def _solved_places(placing: Placing, chain: Chain, decided: Sequence[Decided]) -> list[tuple[Block, ...]]:
    """Read the solver's own places, which are as good as any."""
    roles = placing.model.problem.roles
    found: list[list[Block]] = [[] for _ in roles]
    for (role, block), count in placing.servers.items():
        found[role] += [block] * chain.solver.value(count)
    return [
        deal(role.candidates[choice[0]], taken) if choice else ()
        for role, choice, taken in zip(roles, decided, found, strict=True)
    ]


def _values(answer: Answer) -> tuple[int, ...]:
    return tuple(stage.value for stage in answer.stages if stage.name != HEADROOM)
