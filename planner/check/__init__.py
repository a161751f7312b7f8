"""Check: a plan in; everything in it that does not hold, recomputed without the solver, out.

Nothing is taken from the plan but its decisions: which variant, which limits, which GPUs, which order. Ledgers,
guarantees and accuracies (``servers``), who is where and starts when (``placement``), and the value of the objective
(``objective``) are derived again from catalog, fleet and memory model.
"""

from msgspec.structs import replace

from planner.catalog import Catalog
from planner.check.objective import check_objective, measured
from planner.check.placement import check_gpus, check_roles, check_same_fleet, check_start
from planner.check.servers import Recomputed, check_servers
from planner.check.speed import check_speed
from planner.check.turns import as_planned, check_turns
from planner.check.violation import Violation
from planner.engine.profile import load_profile
from planner.errors import CheckFailed
from planner.fleet import Fleet
from planner.plan import Plan

__all__ = ["Violation", "check", "measure", "require"]


def require(plan: Plan, fleet: Fleet, catalog: Catalog, *, objective: bool = True) -> None:
    """Do nothing when a plan holds; without ``objective`` its value is not compared, as for a fleet that has changed.

    Raises:
        CheckFailed: with every violation.
    """
    violations = check(plan, fleet, catalog, objective=objective)
    if violations:
        raise CheckFailed(tuple(str(violation) for violation in violations))


def measure(plan: Plan, fleet: Fleet, catalog: Catalog, objective: tuple[str, ...]) -> Plan | None:
    """Return a plan that holds with its value in every stage of an objective; None where it does not hold."""
    if check(plan, fleet, catalog, objective=False):
        return None
    facts = Recomputed(plan, as_planned(fleet, plan), catalog, load_profile(plan.engine_version))
    return measured(replace(facts, plan=replace(plan, objective=objective)))


def check(plan: Plan, fleet: Fleet, catalog: Catalog, *, objective: bool = True) -> list[Violation]:
    """Return every way in which a plan breaks its fleet's requirements, the engine's rules, or its own figures."""
    found = list(check_same_fleet(plan, fleet))
    if found:
        return found
    fleet = as_planned(fleet, plan)
    facts = Recomputed(plan, fleet, catalog, load_profile(plan.engine_version))
    found += check_servers(facts)
    found += check_gpus(plan, fleet)
    found += check_roles(plan, fleet)
    if not found:
        found = [*check_turns(facts), *check_start(facts), *check_speed(facts)]
        found += check_objective(facts) if objective else ()
    return sorted(set(found))
