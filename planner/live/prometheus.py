"""A Prometheus server that watches the servers of a plan: what it knows of one role, now and over the last days."""

import math
from collections.abc import Iterator
from urllib.parse import quote

from msgspec import Struct

from planner.live.asked import Said, figures
from planner.live.pages import NoAnswer, Sample, json_page

_NOW = (
    "vllm:cache_config_info",
    "vllm:num_preemptions_total",
    "vllm:num_requests_running",
    "vllm:kv_cache_usage_perc",
    "vllm:gpu_cache_usage_perc",
)
_PERCENTILE = 0.95


class Asked(Struct, frozen=True, kw_only=True):
    """What was asked of one role over some days; None where Prometheus has no such metric.

    ``concurrency`` is the most requests that ran or waited at once, ``prompt_tokens`` and ``output_tokens`` the lengths
    that 95 of 100 requests keep within, ``requests_per_second`` the most over five minutes, ``cached_share`` the share
    of prompt tokens that the prefix cache had.
    """

    concurrency: int | None
    prompt_tokens: int | None
    output_tokens: int | None
    requests_per_second: float | None
    cached_share: float | None


def ask_prometheus(url: str, role: str, timeout_s: float) -> Said:
    """Return what Prometheus last saw of the servers of one role.

    ``vllm:cache_config_info`` has no name of a model; where servers of several roles are watched it is left out.
    """
    names = "|".join(_NOW[1:])
    try:
        found = list(_instant(url, f'{{__name__=~"{names}",model_name="{_escaped(role)}"}}', timeout_s))
        caches = list(_instant(url, _NOW[0], timeout_s))
        names_seen = list(_instant(url, "count(count by (model_name) (vllm:num_requests_running))", timeout_s))
    except NoAnswer as error:
        return Said(unreached=(str(error),))
    if not found:
        return Said(unreached=(f"{url}: knows no server that serves {role}",))
    alone = bool(names_seen) and names_seen[0].value == 1
    return Said(**figures([*found, *(caches if alone else [])]))  # type: ignore[arg-type]


def asked_of(url: str, role: str, days: int, timeout_s: float) -> Asked:
    """Return what was asked of a role in the last days.

    Raises:
        NoAnswer: Prometheus does not answer.
    """
    of, window = f'{{model_name="{_escaped(role)}"}}', f"{days}d"

    def one(query: str) -> float | None:
        found = next(iter(_instant(url, query, timeout_s)), None)
        return found.value if found and math.isfinite(found.value) else None

    def length(name: str) -> int | None:
        buckets = f"sum by (le) (increase({name}_bucket{of}[{window}]))"
        found = one(f"histogram_quantile({_PERCENTILE}, {buckets})")
        return math.ceil(found) if found else None

    at_once = one(f"max_over_time(sum(vllm:num_requests_running{of} + vllm:num_requests_waiting{of})[{window}:1m])")
    rate = one(f"max_over_time(sum(rate(vllm:request_success_total{of}[5m]))[{window}:5m])")
    hits = f"sum(increase(vllm:prefix_cache_hits_total{of}[{window}]))"
    queries = f"sum(increase(vllm:prefix_cache_queries_total{of}[{window}]))"
    return Asked(
        concurrency=math.ceil(at_once) if at_once else None,
        prompt_tokens=length("vllm:request_prompt_tokens"),
        output_tokens=length("vllm:request_generation_tokens"),
        requests_per_second=rate,
        cached_share=one(f"{hits} / {queries}"),
    )


def _instant(url: str, query: str, timeout_s: float) -> Iterator[Sample]:
    """Yield the answers of one query, as of now.

    Raises:
        NoAnswer: Prometheus does not answer, or not with samples.
    """
    address = f"{url.rstrip('/')}/api/v1/query?query={quote(query, safe='')}"
    answer = json_page(address, timeout_s)
    try:
        results = answer["data"]["result"] if answer["status"] == "success" else None
        for result in results or ():
            labels = {str(key): str(value) for key, value in result["metric"].items()}
            yield Sample(labels.pop("__name__", ""), labels, float(result["value"][1]))
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise NoAnswer(url, "answers, and not as Prometheus does") from error


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
