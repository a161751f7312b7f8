"""One sentence for every reason why a variant is no option."""

from planner.explain.words import less, more, percent
from planner.options import Rejection
from planner.units import format_tokens


def rejection(found: Rejection) -> str:
    """Say which variant is out and why."""
    cache = f" with KV cache {found.kv_cache_dtype}" if found.kv_cache_dtype not in ("", "auto") else ""
    return f"{found.repository}{cache}: {reason(found)}"


def reason(found: Rejection) -> str:
    """Say why, without naming the variant."""
    if found.reason == "variant":
        return f"the role is pinned to {found.detail}"
    if found.reason == "scheme":
        return f"the scheme {found.detail} is not among the role's schemes"
    if found.reason == "engine":
        return f"needs version {found.detail} of the engine or newer"
    if found.reason == "context":
        return f"reads at most {format_tokens(found.found)} tokens; context.min is {format_tokens(found.wanted)}"
    if found.reason == "unscored":
        return f"no published score on {found.detail}; state one under accuracy.figures"
    if found.reason == "unknown":
        return f"nothing is published about what {found.detail} keeps; state it under accuracy.figures"
    if found.reason == "recovery":
        return f"keeps {_floor(found)} of the unquantized score; accuracy.recovery is {percent(found.wanted)}"
    if found.reason == "score":
        return f"scores {_floor(found)}; accuracy.score is {percent(found.wanted)}"
    if found.reason == "memory":
        return f"takes at least {more(found.wanted)} of the {less(found.found)} that an empty GPU has"
    return found.detail


def _floor(found: Rejection) -> str:
    return "an unknown share" if found.detail else f"at least {percent(found.found)}"
