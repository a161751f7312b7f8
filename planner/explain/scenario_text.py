"""What a scenario brings, in a few words for each column of a table."""

from planner.explain.speed_text import pace
from planner.explain.words import COSTS, has_unit, listed, stage_amount, stage_share, stage_value
from planner.fleet import Fleet, Price
from planner.options.worth import LATENCY, TPOT
from planner.plan import Gain, NoPlan, Plan, ServerPlan, gain
from planner.units import format_missing, format_tokens

SERVED = "8k × 4: a context of 8k tokens, 4 requests at once"
"""What the columns of roles mean, here and in the list of a frontier."""


def told(base: Plan, found: Gain | None) -> str:
    """Say how much a scenario gains or loses against a plan in the first thing that differs."""
    if found is None:
        return "same"
    sign = "+" if found.by > 0 else "−"
    if found.stage in COSTS:
        name = f" {found.stage}" if found.stage in (LATENCY, TPOT) else ""
        return f"{'−' if found.by > 0 else '+'}{stage_value(found.stage, found.by)}{name}"
    if has_unit(found.stage):
        return f"{sign}{stage_value(found.stage, abs(found.by))} {found.stage}"
    return f"{sign}{stage_share(found.by, stage_amount(base, found.stage))} {found.stage}"


def in_short(found: NoPlan | None) -> str:
    """Say in one line why a scenario has no plan; None is one that ran out of its time limit."""
    if found is None:
        return "no plan was found within the time limit, nor shown that there is none"
    if found.empty_roles:
        return f"no variant can serve {listed(found.empty_roles)}, even with a GPU of its own"
    if found.deficit_bytes:
        return f"the least that all roles take together is {format_missing(found.deficit_bytes)} more than there is"
    return f"these requirements conflict: {listed([item.path for one in found.conflicts for item in one.requirements])}"


def status(answer: Plan | NoPlan | None) -> str:
    """Say whether there is a plan, and how far it is proven; None is a search that ran out of its time limit."""
    if isinstance(answer, Plan):
        return "proven" if answer.proof.proven else "not proven"
    return "none" if answer else "not found"


def against(base: Plan | NoPlan | None, answer: Plan | NoPlan | None) -> str:
    """Say what an answer gains or loses against the first one; nothing where one of them is no plan."""
    return told(base, gain(base, answer)) if isinstance(base, Plan) and isinstance(answer, Plan) else ""


def gpus_of(fleet: Fleet) -> str:
    """Name the GPUs of a fleet, pool by pool."""
    return " + ".join(f"{pool.gpu_count} × {pool.gpu.name}" for pool in fleet.pools)


def per_hour(answer: Plan | NoPlan | None, every: Price | None) -> float | None:
    """Return what a plan's GPUs in use cost for an hour, ``every`` GPU without a plan; None where not known."""
    if isinstance(answer, Plan):
        return answer.price.per_hour if answer.price else None
    return every.microdollars_per_hour / 1e6 if every else None


def per_million(answer: Plan | NoPlan | None) -> float | None:
    """Return the dollars for a million tokens of answers with all requests running; None where price or speed lack."""
    money = answer.money if isinstance(answer, Plan) else None
    return money.full_load.output.value / 1e6 if money else None


def served(answer: Plan | NoPlan | None, role: str) -> str:
    """Say how a role is served: the scheme, and for each kind of its servers the context and the requests."""
    if not isinstance(answer, Plan):
        return ""
    kinds: dict[str, int] = {}
    for server in answer.servers:
        if server.role == role:
            kinds[_server(server)] = kinds.get(_server(server), 0) + 1
    return "; ".join(kind if count == 1 else f"{count} of {kind}" for kind, count in kinds.items()) or "left out"


def _server(server: ServerPlan) -> str:
    served = f"{server.model} {server.scheme} {format_tokens(server.max_model_len)} × {server.requests}"
    told = pace(server.speed)
    return f"{served}, {told}" if told else served
