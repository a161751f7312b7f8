"""What a running server says of itself: version, models, context, KV cache, preemptions, occupancy."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from planner.live.pages import NoAnswer, Sample, json_page, page, samples
from planner.logs.lines import plain

_USAGE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
"""How full the KV cache is: the name since 0.9.2, and before."""


class Said(Struct, frozen=True, kw_only=True):
    """A server's answers; None where it does not say. ``unreached`` are the pages that gave no answer, with why."""

    version: str | None = None
    models: tuple[str, ...] = ()
    max_model_len: int | None = None
    kv_cache_tokens: int | None = None
    preemptions: int | None = None
    running: int | None = None
    kv_cache_usage: float | None = None
    unreached: tuple[str, ...] = ()


def ask(address: str, key: str, timeout_s: float) -> Said:
    """Ask a server for its version, models and metrics, each once; a page that gives no answer is named."""
    unreached: list[str] = []
    facts: dict[str, object] = {}
    try:
        version = json_page(f"{address}/version", timeout_s)
        facts["version"] = (
            plain(str(version["version"])) if isinstance(version, dict) and "version" in version else None
        )
    except NoAnswer as error:
        unreached.append(str(error))
        if "answers" not in error.reason:  # nobody is there: the other pages would wait as long
            return Said(unreached=tuple(unreached))
    try:
        facts |= _models(json_page(f"{address}/v1/models", timeout_s, key))
    except NoAnswer as error:
        unreached.append(str(error))
    try:
        facts |= figures(samples(page(f"{address}/metrics", timeout_s)))
    except NoAnswer as error:
        unreached.append(str(error))
    return Said(**facts, unreached=tuple(unreached))  # type: ignore[arg-type]


def figures(found: Iterable[Sample]) -> dict[str, int | float | None]:
    """Return what a metrics page, or a Prometheus, says of one server."""
    by_name: dict[str, list[Sample]] = {}
    for sample in found:
        by_name.setdefault(sample.name, []).append(sample)
    usage = next((by_name[name] for name in _USAGE if name in by_name), None)
    return {
        "kv_cache_tokens": _tokens(by_name.get("vllm:cache_config_info", ())),
        "preemptions": _sum(by_name.get("vllm:num_preemptions_total", by_name.get("vllm:num_preemptions"))),
        "running": _sum(by_name.get("vllm:num_requests_running")),
        "kv_cache_usage": max(sample.value for sample in usage) if usage else None,
    }


def _models(answer: object) -> dict[str, object]:
    cards = answer.get("data") if isinstance(answer, dict) else None
    cards = [card for card in cards if isinstance(card, dict)] if isinstance(cards, list) else []
    lengths = [card["max_model_len"] for card in cards if isinstance(card.get("max_model_len"), int)]
    names = tuple(plain(str(card.get("id"))) for card in cards)
    return {"models": names, "max_model_len": lengths[0] if lengths else None}


def _tokens(found: Sequence[Sample]) -> int | None:
    """Return the KV cache in tokens: as stated since 0.21, else blocks times their size; the least of all engines."""
    tokens = []
    for sample in found:
        stated, blocks, size = (
            sample.labels.get(name, "") for name in ("kv_cache_size_tokens", "num_gpu_blocks", "block_size")
        )
        if stated.isdigit():
            tokens.append(int(stated))
        elif blocks.isdigit() and size.isdigit():
            tokens.append(int(blocks) * int(size))
    return min(tokens, default=None)


def _sum(found: Sequence[Sample] | None) -> int | None:
    return round(sum(sample.value for sample in found)) if found else None
