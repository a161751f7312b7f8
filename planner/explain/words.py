"""How figures are written in sentences."""

import math
from collections.abc import Sequence

from planner.engine.settings import EngineSettings, pinned
from planner.facts.accuracy import Accuracy
from planner.facts.prior import ASSUMED
from planner.options.worth import COST_PER_MTOK, LATENCY, THROUGHPUT, TPOT
from planner.plan import COST, GPU_HOURS, GPUS_IN_USE, GPUGroup, Plan, ServerPlan
from planner.units import format_gib

TERMS = {
    "baseline": "baseline_bytes",
    "weights": "weights_bytes",
    "KV cache": "kv_cache_bytes",
    "activation": "activation_bytes",
    "non-torch": "non_torch_bytes",
    "graphs": "cuda_graph_bytes",
    "margin": "margin_bytes",
}
"""What a term of a ledger is called -> its field."""

_MILLIONTHS = 1_000_000
_THOUSANDTHS = 1_000

COSTS = (COST, GPUS_IN_USE, LATENCY, TPOT, COST_PER_MTOK, GPU_HOURS)
"""Stages that are negative in a plan, so that more is better as everywhere else."""

_UNITS = {
    COST: (_MILLIONTHS, " $/h"),
    THROUGHPUT: (_THOUSANDTHS, " tokens/s"),
    LATENCY: (_MILLIONTHS, " s"),
    TPOT: (_THOUSANDTHS, " ms"),
    COST_PER_MTOK: (_MILLIONTHS, " $/M tokens"),
    GPU_HOURS: (_MILLIONTHS, " GPU h/M tokens"),
}
"""Stage -> how many of its unit make what is written, and the name of that."""

COUNTED = {
    "balanced": "accuracy and requests at once, taken together",
    "accuracy": "accuracy",
    "concurrency": "requests at once, as a share of the targets",
    "cost": "the price of the GPUs in use",
    "GPUs in use": "the number of GPUs in use",
    "throughput": "tokens per second of all servers",
    "latency": "the time of a request",
    "tpot": "the time per output token",
    "cost_per_mtok": "the price of a million output tokens",
    GPU_HOURS: "the hours of GPUs for a million output tokens",
    "score": "accuracy",
    "context": "context, as a share of the wish",
    "batched tokens": "tokens in a batch",
    "accuracy below a point": "accuracy, by less than a point of a score",
    "headroom": "memory left free",
}
"""What each stage of docs/objective.md counts; roles count by their weights."""

UNSEEN = {
    "desc_act": "the order in which weights were rounded",
    "group_size": "how many weights share a scale",
    "ignore": "which layers were left as they were",
    "sym": "whether zero is in the middle of a scale",
    "zero_point": "whether zero is in the middle of a scale",
}
"""What a field of a quantized checkpoint's config says on which the size of its weights depends."""

_LEAST_PERCENT = 0.001


def percent(hundredths: int) -> str:
    """Write hundredths of a percent: ``97.5 %``."""
    return f"{hundredths / 100:g} %"


def accuracy(value: Accuracy) -> str:
    """Say what is known of an accuracy: the score with its scale, and what quantization keeps."""
    parts = []
    if value.score is not None:
        parts.append(f"{value.score / 100:.1f} {'' if value.scale == ASSUMED else 'on '}{value.scale}")
    if value.recovery_median is not None and value.label != "native":
        floor = "" if value.recovery_floor is None else f", at least {percent(value.recovery_floor)}"
        parts.append(f"keeps {percent(value.recovery_median)} of the unquantized score{floor} ({value.label})")
    return "; ".join(parts) or "accuracy unknown"


def has_unit(name: str) -> bool:
    """Whether the value of a stage is an amount of something; all others are sums of shares, and read in per cent."""
    return name == "headroom" or name == GPUS_IN_USE or name in _UNITS


def stage_value(name: str, value: int) -> str:
    """Write the value of a stage that has a unit."""
    if name == "headroom":
        return format_gib(value)
    if name == GPUS_IN_USE:
        return plural(abs(value), "GPU")
    scale, unit = _UNITS[name]
    return f"{abs(value) / scale:.4f}".rstrip("0").rstrip(".") + unit


def stage_in_full(name: str, value: int) -> str:
    """Write the value of a stage with its unit and, where that rounds, in all digits; sums of shares as they are."""
    if name == "headroom":
        return f"{value:,} bytes"
    return stage_value(name, value) if has_unit(name) else f"{value:,}"


def stage_share(by: int, of: int, *, at_most: bool = False) -> str:
    """Write a part of a stage's value in per cent of it, never as nothing where there is something: ``0.79 %``.

    What is ``at_most`` so much is rounded up.
    """
    if not of:
        return "∞ %"
    share = abs(by) * 100 / abs(of)
    if share < _LEAST_PERCENT:
        return f"less than {_LEAST_PERCENT:g} %"
    places = max(0, 1 - math.floor(math.log10(share)))
    scaled = share * 10**places
    return f"{(math.ceil if at_most else round)(scaled) / 10**places:g} %"


def stage_amount(plan: Plan, title: str) -> int:
    """Return the value that a plan has of a stage, by its title."""
    return next(stage.value for stage in plan.proof.stages if plan.title(stage.name) == title)


def stage_change(name: str, now: int, before: int) -> str:
    """Write what a stage is after a change; where rounding would hide that, in all digits."""
    if not has_unit(name):
        return f"{stage_share(now - before, before)} {'more' if now > before else 'less'}"
    texts = stage_value(name, now), stage_value(name, before)
    if texts[0] == texts[1]:
        unit = " bytes" if name == "headroom" else ""
        texts = (f"{now:,}{unit}", f"{before:,}{unit}")
    return f"{texts[0]} instead of {texts[1]}"


def listed(items: Sequence[str], last: str = "and") -> str:
    """Join words as a sentence does: ``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}"


def plural(count: int, word: str) -> str:
    """Write a count and its word: ``1 request``, ``2 requests``."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def places(groups: Sequence[GPUGroup]) -> str:
    """Name the GPUs of pipeline stages in their order: ``0 and 1 of box-1, then 0 to 3 of box-2``."""
    return ", then ".join(_numbers(group.gpu_indices) + (f" of {group.node}" if group.node else "") for group in groups)


def settings(pins: EngineSettings) -> str:
    """Write what a role pins of the engine with its keys in fleet.yaml: ``eager true, block_size 32``."""
    return ", ".join(f"{setting.key} {setting.say(value)}" for setting, value in pinned(pins)) or "nothing"


def stages(server: ServerPlan) -> str:
    """Say how a server is split into pipeline stages and data-parallel ranks, and where they are."""
    gpus = plural(server.tensor_parallel_size, "GPU")
    where = f"on GPU {places(server.groups)}"
    parts = f"{server.pipeline_parallel_size} stages of {gpus}" if server.pipeline_parallel_size > 1 else gpus
    if server.data_parallel_size > 1:
        each = "each of " if server.pipeline_parallel_size > 1 else "of "
        parts = f"{server.data_parallel_size} data-parallel ranks {each}{parts}"
    if server.context_parallel_size > 1:
        where = f"cached tokens dealt out over {server.context_parallel_size}, {where}"
    return f"{parts}{', which share out whole experts' * server.expert_parallel}, {where}"


def _numbers(indices: Sequence[int]) -> str:
    first, last = indices[0], indices[-1]
    adjacent = len(indices) > 2 and tuple(indices) == tuple(range(first, last + 1))
    return f"{first} to {last}" if adjacent else listed([str(index) for index in indices])
