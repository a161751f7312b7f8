"""Account: why a plan is as it is, beyond what the plan itself holds; facts that take solving again to know."""

from dataclasses import dataclass

from planner.options import Rejection
from planner.plan.no_plan import NoPlan
from planner.plan.plan import Plan, RunnerUp


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """The best plan in which a role does without its variant; None when there is none, or none was found in time."""

    role: str
    runner_up: RunnerUp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What the best plan would be if every GPU of a pool had ``more_bytes`` more; None when none was found in time."""

    pool: str
    more_bytes: int
    answer: Plan | NoPlan | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """An optional role that is not served; the rejections say why, and are empty when what it takes is worth more."""

    role: str
    rejections: tuple[Rejection, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A plan, what each of its roles would otherwise have, and what more memory would buy, pool by pool."""

    plan: Plan
    left_out: tuple[LeftOut, ...]
    alternatives: tuple[Alternative, ...]
    growths: tuple[Growth, ...]
