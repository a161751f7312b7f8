"""Fleets solved for tests, each plan as the independent check lets it pass."""

import functools
from typing import Any

from fleets import PAIR, catalog, fleet

from planner.check import check
from planner.plan import NoPlan, Plan
from planner.solve import solve, solve_and_check


@functools.cache
def pair() -> Plan:
    """The plan of ``PAIR``."""
    return planned(PAIR)


def planned(document: dict[str, Any], previous: Plan | None = None) -> Plan:
    answer = solve_and_check(fleet(document), catalog(), previous=previous)
    assert isinstance(answer, Plan)
    return answer


def refused(document: dict[str, Any]) -> NoPlan:
    answer = solve(fleet(document), catalog())
    assert isinstance(answer, NoPlan)
    return answer


def violations(plan: Plan, document: dict[str, Any] = PAIR) -> str:
    """What the check says of a plan, one violation a line."""
    return "\n".join(str(violation) for violation in check(plan, fleet(document), catalog()))
