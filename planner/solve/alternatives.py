"""The next best combination of variants: what a plan without one of the chosen variants would be."""

import dataclasses
from collections.abc import Iterator, Sequence

from planner.fleet import Fleet
from planner.options import Prepared, fitting, without_variant
from planner.plan import RunnerUp, RunnerUpServer
from planner.solve.assemble import Decision, decisions, plan_stages
from planner.solve.problem import Answer
from planner.solve.search import optimise
from planner.solve.stages import BudgetSpent
from planner.solve.translate import problem


def next_best(fleet: Fleet, prepared: Prepared, decided: Sequence[Decision], budget: int) -> RunnerUp | None:
    """Return the best plan with another combination of variants; None if there is none, or none was found in time.

    Another combination lacks the chosen variant in at least one role, so it is the best of the plans in which one role
    must do without it and the others are free.
    """
    found = list(_answers(fleet, prepared, decided, budget))
    best = max(found, key=lambda item: [stage.value for stage in item[1].stages], default=None)
    if best is None:
        return None
    servers = tuple(_server(decision) for decision in decisions(*best))
    return RunnerUp(servers=servers, stages=plan_stages(best[1]))


def _answers(
    fleet: Fleet, prepared: Prepared, decided: Sequence[Decision], budget: int
) -> Iterator[tuple[Prepared, Answer]]:
    chosen = {decision.role.name: decision for decision in decided}
    for position, own in enumerate(prepared.roles):
        decision = chosen.get(own.role.name)
        if decision is None:
            continue
        every = fitting(own.considered, prepared.places)
        options = without_variant(every, decision.option.variant.repository)
        if not options and not own.role.optional:
            continue
        roles = list(prepared.roles)
        roles[position] = dataclasses.replace(own, options=options)
        other = dataclasses.replace(prepared, roles=tuple(roles))
        try:
            answer = optimise(problem(fleet, other), budget)
        except BudgetSpent:
            continue
        if answer:
            yield other, answer


def _server(decision: Decision) -> RunnerUpServer:
    return RunnerUpServer(
        role=decision.role.name,
        repository=decision.option.variant.repository,
        scheme=decision.option.variant.scheme,
        kv_cache_dtype=decision.option.kv_cache_dtype,
        max_model_len=decision.option.max_model_len,
        max_num_seqs=decision.sequences,
        accuracy=decision.option.accuracy,
    )
