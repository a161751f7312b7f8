"""What a scenario brings, in one line."""

from planner.explain.words import COSTS, listed, more, stage_value
from planner.options.worth import LATENCY, TPOT
from planner.plan import Gain, NoPlan


def told(found: Gain | None) -> str:
    """Say how much a scenario gains or loses in the first thing that differs."""
    if found is None:
        return "same"
    sign = "+" if found.by > 0 else "−"
    if found.stage in COSTS:
        name = f" {found.stage}" if found.stage in (LATENCY, TPOT) else ""
        return f"{'−' if found.by > 0 else '+'}{stage_value(found.stage, found.by)}{name}"
    return f"{sign}{stage_value(found.stage, abs(found.by))} {found.stage}"


def in_short(found: NoPlan | None) -> str:
    """Say in one line why a scenario has no plan; None is one that ran out of its time limit."""
    if found is None:
        return "no plan was found within the time limit, nor shown that there is none"
    if found.empty_roles:
        return f"no variant can serve {listed(found.empty_roles)}, even with a GPU of its own"
    if found.deficit_bytes:
        return f"the least that all roles take together is {more(found.deficit_bytes)} more than there is"
    return f"these requirements conflict: {listed([item.path for one in found.conflicts for item in one.requirements])}"
