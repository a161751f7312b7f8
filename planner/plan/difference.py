"""Two plans -> what differs between them, as facts; ``planner.explain`` turns them into sentences.

What is compared is what a plan promises: engine, servers, GPUs, and the values that were maximised. How it was proven
(solver version, bounds, hash of the model) and its explanations are no part of that.
"""

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from planner.plan.plan import GPULedger, Plan, Stage
from planner.plan.server import ServerPlan

Kind: TypeAlias = Literal["plan", "server", "gpu", "stage"]

_FIELDS: dict[Kind, tuple[str, ...]] = {
    "plan": (
        "fleet",
        "engine",
        "engine_version",
        "engine_known",
        "objective",
        "left_out",
        "start_order",
        "awake_sets",
        "price",
        "money",
        "cluster",
    ),
    "server": ServerPlan.__struct_fields__,
    "gpu": GPULedger.__struct_fields__,
    "stage": ("value", "proven"),
}


class Difference(Struct, frozen=True, kw_only=True):
    """One thing that differs: a field of a server, a GPU, a stage or the plan itself.

    ``name`` says which one; ``field`` is empty when all of it is new (``before`` is None) or gone (``after`` is None).
    Values are those of the plan: numbers in its units, texts, or whole facts.
    """

    kind: Kind
    name: str
    field: str
    before: Any
    after: Any


class Gain(Struct, frozen=True, kw_only=True):
    """How much more of a stage a plan has than another, in the unit of docs/objective.md; negative is a loss."""

    stage: str
    by: int


def differences(old: Plan, new: Plan) -> tuple[Difference, ...]:
    """Return what differs in what two plans promise: the plan, its servers, its GPUs, its stages."""
    found = [*_compare("plan", {"": old}, {"": new})]
    found += _compare("server", {item.name: item for item in old.servers}, {item.name: item for item in new.servers})
    found += _compare("gpu", *_places(old, new))
    found += _compare("stage", _stages(old), _stages(new))
    return tuple(found)


def gain(old: Plan, new: Plan) -> Gain | None:
    """Return the first thing maximised in both of which ``new`` has another amount; None when nothing differs."""
    before = _stages(old)
    for name, stage in _stages(new).items():
        if name in before and stage.value != before[name].value:
            return Gain(stage=name, by=stage.value - before[name].value)
    return None


def _places(*plans: Plan) -> Iterator[dict[str, GPULedger]]:
    """Name the GPUs of two plans alike: by their numbers, and by their nodes where one of the plans has several."""
    several = any(len({gpu.node for gpu in plan.gpus}) > 1 for plan in plans)
    for plan in plans:
        yield {f"{gpu.node} GPU {gpu.index}" if several else f"GPU {gpu.index}": gpu for gpu in plan.gpus}


def _stages(plan: Plan) -> dict[str, Stage]:
    """Return the stages of a plan by titles, so that dollars are never held against a number of GPUs."""
    return {plan.title(stage.name): stage for stage in plan.proof.stages}


def _compare(kind: Kind, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys((*old, *new)):
        before, after = old.get(name), new.get(name)
        if before is None or after is None:
            yield Difference(kind=kind, name=name, field="", before=before, after=after)
            continue
        for field in _FIELDS[kind]:
            left, right = getattr(before, field), getattr(after, field)
            if left != right:
                yield Difference(kind=kind, name=name, field=field, before=left, after=right)
