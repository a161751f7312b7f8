"""Why variants are no options: what they have in common once, then each of them with its own figure."""

from collections.abc import Iterable, Iterator

from planner.explain.words import percent, plural
from planner.options import Rejection
from planner.units import format_apart, format_rate, format_time, format_tokens

_MOST = 4
"""Variants that are named under one reason."""


def rejection_lines(rejections: Iterable[Rejection]) -> Iterator[str]:
    """Yield a line for each reason and, two columns further in, the variants that came closest and their number."""
    groups: dict[str, list[Rejection]] = {}
    for found in rejections:
        groups.setdefault(_reason(found), []).append(found)
    for reason, group in groups.items():
        variants = list(_variants(group))
        yield f"{reason}:"
        yield from (f"  {text}" for text in variants[:_MOST])
        if len(variants) > _MOST:
            yield f"  … and {len(variants) - _MOST} more"


def why(found: Rejection) -> str:
    """Say in one line why a variant is out."""
    figure = _figure(found)
    return f"{_reason(found)}: {found.repository} {figure}" if figure else f"{_reason(found)}: {found.repository}"


def _variants(group: list[Rejection]) -> Iterator[str]:
    """Yield each variant of one reason with its figure, where it comes closest; the closest variant first."""
    closest: dict[str, Rejection] = {}
    for found in sorted(group, key=_distance):
        closest.setdefault(found.repository, found)
    for name, found in closest.items():
        cached = found.kv_cache_dtype not in ("", "auto")
        cache = f" with KV cache {found.kv_cache_dtype}" if cached else ""
        yield f"{name}{cache}" + (f": {figure}" if (figure := _figure(found)) else "")


def _distance(found: Rejection) -> tuple[int, str, str]:
    """Order rejections of one reason: the least missing first."""
    missing = abs(found.wanted - found.found) * _ranks(found)
    return missing, found.repository, found.kv_cache_dtype


def _reason(found: Rejection) -> str:
    """Say what is the same for all variants that are out for a reason."""
    if found.reason == "variant":
        return f"the role is pinned to {found.detail}"
    if found.reason == "scheme":
        return "the role's schemes leave it out"
    if found.reason == "engine":
        return "needs a newer engine"
    if found.reason == "context":
        return f"context.min is {format_tokens(found.wanted)}"
    if found.reason == "unscored":
        return f"no published score on {found.detail}; state one under accuracy.figures"
    if found.reason == "unknown":
        return f"nothing is published about what {found.detail} keeps; state it under accuracy.figures"
    if found.reason == "recovery":
        return f"accuracy.recovery is {percent(found.wanted)} of the unquantized score"
    if found.reason == "score":
        return f"accuracy.score is {percent(found.wanted)}"
    if found.reason == "memory":
        return "too large for the GPUs"
    if found.reason == "fault":
        return f"known fault {found.detail}"
    if found.reason in ("tpot", "ttft"):
        return f"speed.{found.reason} is {format_time(found.wanted)}"
    if found.reason == "rate":
        return f"the rate is {format_rate(found.wanted)}"
    if found.reason == "sequences":
        return f"its speed leaves fewer requests at once than the {found.wanted} required of a server"
    if found.reason == "unmeasured":
        return "speed is required, and nothing is said of it"
    return found.detail


def _figure(found: Rejection) -> str:
    """Say what is a variant's own; nothing where the reason says all."""
    if found.reason == "scheme":
        return found.detail
    if found.reason == "engine":
        return f"needs {found.detail}"
    if found.reason == "context":
        return f"reads at most {format_tokens(found.found)}"
    if found.reason == "recovery":
        return f"keeps {_floor(found)}"
    if found.reason == "score":
        return f"scores {_floor(found)}"
    if found.reason == "memory":
        wanted, there = format_apart(found.wanted, found.found)
        return f"takes {wanted} of the {there} of {_gpus(found)}"
    if found.reason in ("tpot", "ttft"):
        return f"up to {format_time(found.found)} with one request, most of it {found.detail}, on {_split(found)}"
    if found.reason == "rate":
        beyond = f"; of more requests at once nothing is said: {found.detail}" if found.detail else ""
        return f"keeps up with {format_rate(found.found)} on {_split(found)}{beyond}"
    if found.reason == "sequences":
        return f"{found.found} on {_split(found)}"
    if found.reason == "unmeasured":
        return found.detail
    return ""


def _split(found: Rejection) -> str:
    """Say how many GPUs a server is split over, and of which pool."""
    return f"{plural(_ranks(found), 'GPU')} of {found.pool}"


def _gpus(found: Rejection) -> str:
    """Name the GPUs of the place where a variant comes closest."""
    count = _ranks(found)
    return f"each of {plural(count, 'GPU')}" if count > 1 else "a GPU"


def _floor(found: Rejection) -> str:
    return "an unknown share" if found.detail else f"at least {percent(found.found)}"


def _ranks(found: Rejection) -> int:
    """Return the GPUs of the server that was looked at."""
    return found.tensor_parallel_size * found.pipeline_parallel_size * found.data_parallel_size
