"""The next best combination of variants: what a plan without one of the chosen variants would be."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from planner.catalog import Catalog
from planner.fleet import Fleet, Role
from planner.options import Option, Prepared
from planner.options.problem import Kept, problem
from planner.plan import Plan, RunnerUp, RunnerUpServer, Unsearched
from planner.search import watch
from planner.search.budget import BUDGET, BudgetSpent, purse, spending
from planner.search.chain import ceilings
from planner.search.optimise import optimise
from planner.search.problem import Answer, Problem
from planner.solve.assemble import Decision, decisions, plan_stages
from planner.solve.close_calls import close_calls
from planner.solve.unsearched import open_keys
from planner.solve.whole import Solved
from planner.solve.within import bounded

_MANY = 10_000
"""Options of all roles from which on another search takes too long for the usual budget; the plan says so."""


def next_best(
    fleet: Fleet,
    prepared: Prepared,
    decided: Sequence[Decision],
    budget: int,
    kept: Mapping[str, Kept] | None = None,
) -> RunnerUp | None:
    """Return the best plan with another combination of variants; None if there is none.

    Another combination lacks the chosen variant in at least one of the decided roles; all else is free.

    Raises:
        BudgetSpent: none was found in time.
    """
    chosen = {decision.role.name: decision.option.variant.repository for decision in decided}
    if watch.stopped() or purse().spent:
        raise BudgetSpent(budget)
    asked = problem(fleet, prepared, barred=chosen, kept=kept)
    answer = optimise(asked, budget)
    if answer is None:
        return None
    answer = bounded(answer, prepared)
    best = decisions(prepared, answer)
    if not (kept or answer.stages[0].proven):
        for some, found in _one_changed(fleet, prepared, decided, budget):
            if _values(found) > _values(answer):
                answer, best = _as_bounded(asked, answer, found), decisions(some, found)
    return RunnerUp(servers=tuple(map(_server, best)), stages=plan_stages(fleet, answer))


def _one_changed(
    fleet: Fleet, prepared: Prepared, decided: Sequence[Decision], budget: int
) -> Iterator[tuple[Prepared, Answer]]:
    """Yield the best answers in which one role has another variant and all others keep their options.

    Where it takes too long to prove which combination is next, one of these is nearly always better than what is found.
    """
    own: dict[str, list[Option]] = {}
    for decision in decided:
        own.setdefault(decision.role.name, []).append(decision.option)
    with spending(budget):
        for name, options in own.items():
            roles = tuple(
                one if one.role.name == name else replace(one, options=tuple(own.get(one.role.name, ())))
                for one in prepared.roles
            )
            some = replace(prepared, roles=roles)
            if watch.stopped() or purse().spent:
                return
            with contextlib.suppress(BudgetSpent):
                barred = {name: options[0].variant.repository}
                if answer := optimise(problem(fleet, some, barred=barred), budget):
                    yield some, answer


def _values(answer: Answer) -> list[int]:
    return [stage.value for stage in answer.stages]


def _as_bounded(asked: Problem, before: Answer, found: Answer) -> Answer:
    """Return a better answer than one before, with the bounds of that as far as they hold for it.

    Those of a stage are of plans that are as good in all before it: of the stages after the first that is better, plans
    may be as good as the answer that are not as good as the one before.
    """
    most, stages = ceilings(asked), []
    alike = True
    for old, new in zip(before.stages, found.stages, strict=True):
        bound = max(new.value, old.bound if alike else most[new.name])
        alike = alike and old.value == new.value
        stages.append(replace(new, bound=bound, proven=old.proven and alike))
    return replace(found, stages=tuple(stages))


def with_runner_up(fleet: Fleet, catalog: Catalog, found: Solved, budget: int) -> Plan:
    """Return a plan with its runner-up and its close calls; it is interrupted, too, when the search for those was."""
    watch.task("next best")
    many = sum(len(one.options) for one in found.prepared.roles) > _MANY * max(1, budget // BUDGET)
    other, spent = None, many
    try:
        other = None if many else next_best(fleet, found.prepared, found.decided, budget, found.kept)
    except BudgetSpent:
        spent = not watch.stopped()
    close, unsearched = close_calls(fleet, catalog, found, budget)
    next_ones = [_unsearched(one.role) for one in found.prepared.roles if one.options and spent]
    all_of_it = (*found.plan.proof.unsearched, *next_ones, *unsearched)
    proof = replace(found.plan.proof, interrupted=watch.stopped(), unsearched=all_of_it)
    return replace(found.plan, runner_up=other, close_calls=close, proof=proof)


def _unsearched(role: Role) -> Unsearched:
    return Unsearched(what="next best", role=role.name, keys=tuple(open_keys(role)))


def _server(decision: Decision) -> RunnerUpServer:
    return RunnerUpServer(
        role=decision.role.name,
        repository=decision.option.variant.repository,
        scheme=decision.option.variant.scheme,
        kv_cache_dtype=decision.option.kv_cache_dtype,
        max_model_len=decision.option.max_model_len,
        max_num_seqs=decision.sequences,
        data_parallel_size=decision.option.data_parallel_size,
        accuracy=decision.option.accuracy,
    )
