"""The result of ``vllm bench serve`` -> one load test, or why it teaches nothing.

Keys are those of ``vllm/benchmarks/serve.py``, read in 0.10.2 to 0.33.0.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

_ROUNDS = 2
"""Of fewer rounds than this most is the start and the end."""
_COALESCED = 1.5
"""Tokens of one request are that much further apart in its stream than on average: several came at once."""
_ADDS_UP = (0.6, 1.1)
"""Requests at once by Little's law over those asked for: less is a run that never filled the server."""
_NUMBERS = (
    "num_prompts", "completed", "total_input_tokens", "total_output_tokens", "request_throughput", "output_throughput",
    "median_ttft_ms", "median_tpot_ms", "mean_ttft_ms", "mean_tpot_ms",
)  # fmt: skip


class LoadResult(Struct, frozen=True, kw_only=True):
    """What a load test asked and measured; of ``concurrency`` and ``requests_per_second`` one is given."""

    model: str
    input_tokens: int
    output_tokens: int
    tpot_ms: float
    ttft_ms: float
    output_tokens_per_s: float
    concurrency: int | None = None
    requests_per_second: float | None = None


def is_load_result(data: object) -> bool:
    """Whether a JSON document is such a result."""
    return isinstance(data, dict) and {"completed", "duration", "model_id"} <= data.keys()


def load_result(data: Mapping[str, Any]) -> LoadResult | str:
    """Return what a result says, or why it teaches nothing about the speed of steps."""
    for name in _NUMBERS:
        if isinstance(data.get(name), bool) or not isinstance(data.get(name), int | float) or not data[name] > 0:
            return f"it does not say {name}"
    if data["completed"] < data["num_prompts"]:
        return f"{data['num_prompts'] - data['completed']} of {data['num_prompts']} requests were not answered"
    asked = _asked(data)
    if isinstance(asked, str):
        return asked
    concurrency, rate = asked
    found = LoadResult(
        model=str(data["model_id"]),
        input_tokens=round(data["total_input_tokens"] / data["completed"]),
        output_tokens=round(data["total_output_tokens"] / data["completed"]),
        tpot_ms=float(data["median_tpot_ms"]),
        ttft_ms=float(data["median_ttft_ms"]),
        output_tokens_per_s=float(data["output_throughput"]),
        concurrency=concurrency,
        requests_per_second=rate,
    )
    return _contradiction(found, data) or found


def _asked(data: Mapping[str, Any]) -> tuple[int | None, float | None] | str:
    """Return the requests at once or per second that were asked for."""
    if data.get("ramp_up_strategy"):
        return "its rate was ramped up"
    if "spec_decode_acceptance_rate" in data:
        return "tokens were drafted"
    most, rate = data.get("max_concurrency"), data.get("request_rate")
    endless = rate in (None, "inf", float("inf"))
    if isinstance(most, int) and endless:
        if data["num_prompts"] < _ROUNDS * most:
            return f"{data['num_prompts']} requests, {most} at once, are mostly its start and its end"
        return most, None
    if most is None and isinstance(rate, int | float) and not endless:
        return (None, float(rate)) if data.get("burstiness", 1.0) == 1.0 else "its requests came in bursts"
    return "it has no --max-concurrency" if endless else "it has both a rate and --max-concurrency"


def _contradiction(found: LoadResult, data: Mapping[str, Any]) -> str:
    """Return which figures of a result cannot be those of requests that run at once, each token by itself."""
    between = data.get("mean_itl_ms")
    if isinstance(between, int | float) and between > _COALESCED * data["mean_tpot_ms"]:
        return "its streams bring several tokens at once"
    if found.ttft_ms > found.output_tokens * found.tpot_ms:
        return "requests wait longer for their first token than for all others: the server was full"
    life_s = (data["mean_ttft_ms"] + (found.output_tokens - 1) * data["mean_tpot_ms"]) / 1000
    if found.concurrency:
        share = data["request_throughput"] * life_s / found.concurrency
        if not _ADDS_UP[0] <= share <= _ADDS_UP[1]:
            return f"its figures say {share * found.concurrency:.1f} requests at once, not {found.concurrency}"
    return ""
