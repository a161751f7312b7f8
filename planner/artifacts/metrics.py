"""What the planned engine version calls those of its metrics that were renamed.

All others that the templates use have had the same name in every version since 0.6.6 (read in
``vllm/engine/metrics.py`` of 0.6.6 and ``vllm/v1/metrics/loggers.py`` of 0.7.3 to 0.33.0).
"""

from msgspec import Struct

from planner.engine.versions import parse_version


class Metrics(Struct, frozen=True, kw_only=True):
    """Names as they stand on the engine's ``/metrics`` page; of a histogram, without ``_bucket``."""

    kv_cache_usage: str
    inter_token_latency: str


def metrics(version: str) -> Metrics:
    """Return the names in one engine version.

    0.9.2 is the first with ``kv_cache_usage_perc``, 0.10.2 the first seen with ``inter_token_latency_seconds``; the old
    names went in 0.12.0 and 0.16.0.

    Raises:
        UnknownName: the text is not a version.
    """
    key = parse_version(version)
    return Metrics(
        kv_cache_usage="vllm:kv_cache_usage_perc" if key >= (0, 9, 2) else "vllm:gpu_cache_usage_perc",
        inter_token_latency=(
            "vllm:inter_token_latency_seconds" if key >= (0, 10, 2) else "vllm:time_per_output_token_seconds"
        ),
    )
