"""Account: why a plan is as it is, beyond what the plan itself holds; facts that take solving again to know."""

from msgspec import Struct

from planner.options import Rejection
from planner.plan.nearby import Nearby
from planner.plan.no_plan import NoPlan
from planner.plan.plan import Plan, RunnerUp
from planner.speed.parts import Parts


class Alternative(Struct, frozen=True, kw_only=True):
    """The best plan in which a role does without its variant; None when there is none, or none was found in time."""

    role: str
    runner_up: RunnerUp | None


class Growth(Struct, frozen=True, kw_only=True):
    """What the best plan would be if every GPU of a pool had ``more_bytes`` more; None when none was found in time."""

    pool: str
    more_bytes: int
    answer: Plan | NoPlan | None


class SpeedStep(Struct, frozen=True, kw_only=True):
    """How fast the servers of a role would be with one step up: ``what`` is ``gpu``, ``tensor_parallel`` or ``scheme``.

    Computed for as many requests, at the centre of the range, and not solved; ``fits`` says whether an otherwise empty
    GPU holds it. ``reason`` says why nothing is said of it; the figures are then 0.
    """

    what: str
    now: str
    then: str
    tpot_us: int
    ttft_us: int
    output_millitokens_per_second: int
    fits: bool
    reason: str | None = None


class RoleSpeed(Struct, frozen=True, kw_only=True):
    """Where the time of a role's servers goes, and what would make them faster."""

    role: str
    pool: str
    parts: Parts
    steps: tuple[SpeedStep, ...]


class ContextPrice(Struct, frozen=True, kw_only=True):
    """What a token beyond the context of a role's servers in a pool would take of each of their GPUs, for a request."""

    role: str
    pool: str
    token_bytes: int


class LeftOut(Struct, frozen=True, kw_only=True):
    """An optional role that is not served; the rejections say why, and are empty when what it takes is worth more."""

    role: str
    rejections: tuple[Rejection, ...]


class Account(Struct, frozen=True, kw_only=True):
    """A plan, what each of its roles would otherwise have, and what more memory would buy, pool by pool.

    ``speeds`` are those of roles that state the length of their requests, ``nearby`` the alternatives of each role that
    people have in mind, ``contexts`` what a further token costs of servers that have a KV cache.
    """

    plan: Plan
    left_out: tuple[LeftOut, ...]
    alternatives: tuple[Alternative, ...]
    growths: tuple[Growth, ...]
    speeds: tuple[RoleSpeed, ...] = ()
    nearby: tuple[Nearby, ...] = ()
    contexts: tuple[ContextPrice, ...] = ()
