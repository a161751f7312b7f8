"""Alternatives: what else could be served in place of the plan, beside what it serves."""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from planner import explain
from planner.explain.reasons import close_call, runner_up_loss
from planner.plan import Plan, RunnerUpServer, ServerPlan

PLAN, NEXT_BEST, BOTH, CLOSE_CALL = "this plan", "next best", "this plan and next best", "close call"


class Served(Struct, frozen=True, kw_only=True):
    """What one role has in the plan, in the next best combination of variants, or with a model that scores alike.

    ``context`` is in tokens, ``requests`` are those of one server. Of a close call only the checkpoint is known, and
    ``note``, which is how it compares.
    """

    role: str
    which: str
    checkpoint: str
    kv_cache_dtype: str = ""
    context: int | None = None
    requests: int | None = None
    accuracy: str = ""
    note: str = ""


class Alternatives(Struct, frozen=True, kw_only=True):
    """A row for each role and each thing that it could have, and in what the next best plan loses."""

    rows: tuple[Served, ...]
    loss: str


def alternatives(plan: Plan) -> Alternatives:
    """Return what a plan is held against; nothing where nothing else was found."""
    rows = tuple(_rows(plan)) if plan.runner_up or plan.close_calls else ()
    return Alternatives(rows=rows, loss=runner_up_loss(plan, plan.runner_up) if plan.runner_up else "")


def _rows(plan: Plan) -> Iterator[Served]:
    others = plan.runner_up.servers if plan.runner_up else ()
    for role in dict.fromkeys([*(one.role for one in plan.servers), *(one.role for one in others)]):
        own = dict.fromkeys(_served(PLAN, one) for one in plan.unlike if one.role == role)
        other = dict.fromkeys(_served(PLAN, one) for one in others if one.role == role)
        yield from (replace(one, which=BOTH) if one in other else one for one in own)
        yield from (replace(one, which=NEXT_BEST) for one in other if one not in own)
        if plan.runner_up and role not in {one.role for one in others}:
            yield Served(role=role, which=NEXT_BEST, checkpoint="", note="left out")
        for call in plan.close_calls:
            if call.role == role:
                note = close_call(plan, call)
                yield Served(role=role, which=CLOSE_CALL, checkpoint=call.repository, note=note)


def _served(which: str, server: ServerPlan | RunnerUpServer) -> Served:
    return Served(
        role=server.role,
        which=which,
        checkpoint=server.repository,
        kv_cache_dtype=server.kv_cache_dtype,
        context=server.max_model_len,
        requests=server.requests,
        accuracy=explain.accuracy(server.accuracy),
    )
