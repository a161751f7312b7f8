"""The engine version of a plan whose fleet names none: the newest without a known fault for what the plan chooses."""

from planner.catalog import Catalog
from planner.engine.profile import EngineProfile, known_versions, load_profile
from planner.fleet import Fleet
from planner.memory.pins import server_refusal
from planner.options import Prepared
from planner.options.layouts import layout_of
from planner.options.limits import cache_refusal, engine_refusal, layout_refusal
from planner.options.problem import problem
from planner.plan.faults import faults_of
from planner.search.budget import BudgetSpent
from planner.search.optimise import optimise
from planner.search.problem import Answer
from planner.solve.assemble import Decision, decisions
from planner.solve.within import bounded, prepared_within


def prepared_for(fleet: Fleet, catalog: Catalog, budget: int) -> Prepared:
    """Return the options of a fleet for its engine version, or for the one to plan for.

    That is the newest, unless options with a serious fault were left out for it that a plan would have chosen: then the
    newest on which those are without one. Where there is no such version it is the newest, without those options.

    Raises:
        BudgetSpent: what a plan would choose was not found within the solver's budget.
        UnknownName: no memory profile covers the engine version.
    """
    newest = load_profile(fleet.engine_version)
    found = prepared_within(fleet, catalog, newest)
    if fleet.engine_version or not faulty(found):
        return found
    everything = prepared_within(fleet, catalog, newest, avoid=False)
    answer = best(fleet, everything, budget)
    chosen = decisions(everything, answer) if answer else ()
    older = (load_profile(version) for version in reversed(known_versions()))
    profile = next((profile for profile in older if all(_sound(one, fleet, profile) for one in chosen)), newest)
    return found if profile is newest else prepared_within(fleet, catalog, profile)


def faulty(prepared: Prepared) -> bool:
    """Whether options were left out for a known fault of the engine, or are there in spite of one."""
    return any(found.faulty for found in prepared.roles)


def best(fleet: Fleet, prepared: Prepared, budget: int) -> Answer | None:
    """Return the best answer, or None where no choice of options serves every required role.

    Raises:
        BudgetSpent: neither could be shown within the budget.
    """
    if not all(found.options or found.role.optional for found in prepared.roles):
        return None
    answer = optimise(problem(fleet, prepared), budget)
    if answer is None and prepared.cut:  # there may be a plan with options that there was no time to look at
        raise BudgetSpent(budget, prepared.cut)
    return answer and bounded(answer, prepared)


def _sound(chosen: Decision, fleet: Fleet, profile: EngineProfile) -> bool:
    """Whether a version starts what was chosen, and nothing serious is known to happen to it then."""
    option, gpu = chosen.option, fleet.pools[chosen.option.pool].gpu
    server = chosen.server
    if not profile.has_kv_cache_memory_bytes or engine_refusal(option.model, option.variant, profile):
        return False
    if layout_refusal(layout_of(server.flags), option.nodes, server.architecture, profile):
        return False
    if cache_refusal(server.kv_cache_dtype, option.model, server.architecture, gpu, profile):
        return False
    settings = chosen.role.settings
    if server_refusal(server, settings, profile, gpu):
        return False
    return not any(fault.serious for fault in faults_of(server, gpu, profile, option.nodes, settings.asked))
