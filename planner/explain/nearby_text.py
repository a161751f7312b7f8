"""The nearest alternatives of a role, one line each: what it is, and what it gains and loses."""

from collections.abc import Iterator, Sequence

from planner.explain.money_text import dollars
from planner.explain.rejections import why
from planner.explain.words import listed, plural
from planner.plan.nearby import HEAVIER, LARGER, LIGHTER, MORE_GPUS, SMALLER, Change, Nearby

_MINUS = "−"


def nearby_lines(found: Sequence[Nearby], *, paced: bool) -> Iterator[str]:
    """Yield a heading, and a line for each alternative; nothing where there are none.

    Where the role's speed is known in the plan, ``paced``, it is said where that of an alternative is not.
    """
    if found:
        yield "the nearest alternatives, each solved, with the other roles' checkpoints as they are:"
        yield from (f"  {_line(item, paced)}" for item in found)


def _line(item: Nearby, paced: bool) -> str:
    what = f"in {item.wanted}" if item.kind in (LIGHTER, HEAVIER) else f"{item.kind}, {item.wanted}"
    if not item.found:
        return f"{what}: no plan was found in time"
    if item.change is None:
        return f"{what}: {_none(item)}"
    name = "with " * (item.kind == MORE_GPUS) + item.repository
    cache = f", KV cache {item.kv_cache_dtype}" if item.kv_cache_dtype != "auto" else ""
    servers = f", {item.replicas} servers" if item.replicas > 1 else ""
    head = what.partition(", ")[0] if item.kind in (SMALLER, LARGER) else what
    without = f"; {listed(item.left_out)} left out" if item.left_out else ""
    return f"{head}, {name}{cache}{servers}: {', '.join(_changes(item, item.change, paced))}{without}"


def _none(item: Nearby) -> str:
    if item.left_out:
        return f"the best plan leaves {listed(item.left_out)} out"
    return f"no plan; {why(item.rejection)}" if item.rejection else "no plan; it fits, but not beside the other roles"


def _changes(item: Nearby, change: Change, paced: bool) -> Iterator[str]:
    yield _accuracy(change)
    yield f"{plural(item.requests, 'request')} ({_signed(change.requests)})"
    if change.millitokens_per_second is None and paced:
        yield "at a speed that is not known"
    elif change.millitokens_per_second is not None:
        yield f"{_signed(change.millitokens_per_second, 1_000, 1)} tokens/s each"
    if change.microdollars_per_hour is None:
        yield f"{_signed(change.gpus)} GPU{'s' * (abs(change.gpus) > 1)}" if change.gpus else "the same GPUs"
    else:
        yield _paid(item, change.microdollars_per_hour)


def _accuracy(change: Change) -> str:
    if change.accuracy is None:
        return "accuracy not comparable"
    if change.scale == "recovery":
        return f"{_signed(change.accuracy, 100, 1)} % of the unquantized score"
    points = _signed(change.accuracy, 100, 1)
    return f"{points} assumed points" if change.scale == "assumed" else f"{points} points on {change.scale}"


def _paid(item: Nearby, amount: int) -> str:
    if not amount:
        return "the same price"
    sign = "+" if amount > 0 else _MINUS
    basis = f" ({item.price_basis})" if item.kind == MORE_GPUS else ""
    return f"{sign}{dollars(abs(amount) / 1_000_000)} $/h{basis}"


def _signed(amount: int, unit: int = 1, places: int = 0) -> str:
    text = f"{abs(amount) / unit:.{places}f}"
    sign = "±" if float(text) == 0 else "+" if amount > 0 else _MINUS
    return f"{sign}{text}"
