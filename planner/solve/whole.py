"""One fleet, solved: options, answer, plan; what ``solve`` and everything that explains its plan begin with."""

from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from planner.catalog import Catalog
from planner.conflict.minimal import conflict
from planner.fleet import SLEEP, STOP, Fleet, sleep_refusal
from planner.options import Prepared, prepare
from planner.options.problem import Kept, problem
from planner.plan import NoPlan, Plan, lock_of
from planner.search import watch
from planner.search.budget import BudgetSpent
from planner.search.optimise import optimise
from planner.search.problem import MINIMAL_CHANGE, Answer
from planner.solve.assemble import Decision, assemble, decisions
from planner.solve.bindings import bindings
from planner.solve.engine_version import best, faulty, prepared_for
from planner.solve.hold import hold, keep
from planner.solve.within import begun_with, bounded


class Solved(Struct, frozen=True, kw_only=True):
    """A plan, still without a runner-up, and what it was made from.

    ``kept`` is what a runner-up should leave as the plan has it, the last of the options of these roles.
    """

    plan: Plan
    prepared: Prepared
    decided: tuple[Decision, ...]
    kept: Mapping[str, Kept] = field(default_factory=dict)


def whole(fleet: Fleet, catalog: Catalog, budget: int, previous: Plan | None = None) -> Solved | NoPlan:
    """Return the best plan for a fleet, or why there is none.

    Where roles take turns and the fleet does not say what they do in between, they sleep if all are served that way,
    because that is the faster change, and otherwise they are stopped.
    """
    if fleet.time_share and not fleet.between_turns:
        if not sleep_refusal(fleet.pools, SLEEP, fleet.engine_version):
            found = tried(fleet.settled(SLEEP), catalog, budget, previous)
            if isinstance(found, Solved) and not found.plan.left_out:
                return found
        fleet = fleet.settled(STOP)
    found = tried(fleet, catalog, budget, previous)
    return found if isinstance(found, Solved) else conflict(fleet, catalog, found)


def settled(fleet: Fleet, catalog: Catalog, budget: int) -> Fleet:
    """Return a fleet with what its roles do between their turns, as its best plan has it.

    Raises:
        BudgetSpent: neither a plan nor its impossibility could be shown within the solver's budget.
    """
    if not fleet.time_share or fleet.between_turns:
        return fleet
    found = whole(fleet, catalog, budget)
    how = {server.asleep.how for server in found.plan.servers if server.asleep} if isinstance(found, Solved) else ()
    return fleet.settled(min(how, default=STOP))


def tried(fleet: Fleet, catalog: Catalog, budget: int, previous: Plan | None = None) -> Solved | Prepared:
    """Return the best plan for a fleet, or the options of which none gives one, without looking for what would help.

    Known faults of the engine are avoided where there is a plan without them. A plan follows a previous one where that
    costs nothing, and as far as the objective asks for minimal change.

    Raises:
        BudgetSpent: neither could be shown within the solver's budget.
        UnknownName: no memory profile covers the engine version.
    """
    prepared = prepared_for(fleet, catalog, budget)
    try:
        answer = best(fleet, prepared, budget)
    except BudgetSpent:
        begun = begun_with(fleet, prepared)
        if begun is None:
            raise
        prepared, answer = begun, best(fleet, begun, budget)
    if answer is None and faulty(prepared):
        everything = prepare(fleet, catalog, prepared.profile, avoid=False)
        answer = best(fleet, everything, budget)
        prepared = prepared if answer is None else everything
    if answer is None:
        return prepared
    return planned(fleet, catalog, prepared, answer, budget, previous)


def planned(
    fleet: Fleet, catalog: Catalog, prepared: Prepared, answer: Answer, budget: int, previous: Plan | None = None
) -> Solved:
    """Return the plan of an answer, following a previous plan as ``whole`` does."""
    found = solved(fleet, catalog, prepared, answer, budget)
    if previous is not None:
        found = _following(fleet, catalog, found, answer, previous, budget)
    if MINIMAL_CHANGE in fleet.objective:
        keeping = keep(fleet, prepared, catalog, found.plan)
        found = replace(found, prepared=keeping.prepared, kept=keeping.kept)
    return found


def _following(fleet: Fleet, catalog: Catalog, fresh: Solved, answer: Answer, previous: Plan, budget: int) -> Solved:
    """Return the plan that follows a previous one; ``answer`` is that of the plan that does not, ``fresh``."""
    keeping = keep(fleet, fresh.prepared, catalog, previous)
    kept = keeping.kept if MINIMAL_CHANGE in fleet.objective else {}
    if kept:
        least = optimise(problem(fleet, keeping.prepared, kept=kept), budget)
        assert least is not None
        answer = replace(bounded(least, keeping.prepared), model_sha256=answer.model_sha256)
    held = hold(problem(fleet, keeping.prepared, kept=kept), answer, keeping.old)
    followed = solved(fleet, catalog, keeping.prepared, held, budget, previous)
    return fresh if followed.plan.servers == fresh.plan.servers else _held(followed)


def _held(found: Solved) -> Solved:
    """Say that a plan would be another one without the previous plan."""
    lock = replace(found.plan.lock, held=True)
    return replace(found, plan=replace(found.plan, lock=lock))


def solved(
    fleet: Fleet, catalog: Catalog, prepared: Prepared, answer: Answer, budget: int, previous: Plan | None = None
) -> Solved:
    """Return the plan of an answer, with what binds it and the ports of a previous plan."""
    watch.step("making the plan")
    decided = decisions(prepared, answer)
    plan = assemble(fleet, prepared, answer, budget, lock_of(fleet, catalog, prepared.profile), previous)
    watch.step("what binds each role")
    plan = replace(plan, bindings=bindings(prepared, decided, fleet.time_share))
    return Solved(plan=plan, prepared=prepared, decided=decided)
