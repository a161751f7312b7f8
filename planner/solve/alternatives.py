"""The next best combination of variants: what a plan without one of the chosen variants would be."""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from planner.catalog import Catalog
from planner.fleet import Fleet, Role
from planner.options import Prepared
from planner.options.problem import Kept, problem
from planner.plan import Plan, RunnerUp, RunnerUpServer, Unsearched
from planner.search import watch
from planner.search.budget import BUDGET, BudgetSpent
from planner.search.optimise import optimise
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
    """Return the best plan with another combination of variants; None if there is none, or none was found in time.

    Another combination lacks the chosen variant in at least one of the decided roles; all else is free.
    """
    chosen = {decision.role.name: decision.option.variant.repository for decision in decided}
    if watch.stopped():
        return None
    try:
        answer = optimise(problem(fleet, prepared, barred=chosen, kept=kept), budget)
    except BudgetSpent:
        return None
    if answer is None:
        return None
    answer = bounded(answer, prepared)
    servers = tuple(_server(decision) for decision in decisions(prepared, answer))
    return RunnerUp(servers=servers, stages=plan_stages(fleet, answer))


def with_runner_up(fleet: Fleet, catalog: Catalog, found: Solved, budget: int) -> Plan:
    """Return a plan with its runner-up and its close calls; it is interrupted, too, when the search for those was."""
    watch.task("next best")
    many = sum(len(one.options) for one in found.prepared.roles) > _MANY * max(1, budget // BUDGET)
    other = None if many else next_best(fleet, found.prepared, found.decided, budget, found.kept)
    close, unsearched = close_calls(fleet, catalog, found, budget)
    next_ones = [_unsearched(one.role) for one in found.prepared.roles if one.options and many]
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
