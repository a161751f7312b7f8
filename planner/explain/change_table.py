"""What a new plan brings against the one before, as a Markdown table of memory, speed and dollars: for a review.

Names are somebody's own, and what is shown may be a comment on a web page, so nothing in them is markup.
"""

import html
import re
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from planner.explain.difference_text import difference
from planner.explain.money_text import dollars, tokens_price
from planner.explain.words import plural
from planner.plan import Plan, ServerPlan, differences
from planner.speed.forecast import Range
from planner.units import format_gib, format_tokens

_NONE = "–"
_SPECIAL = re.compile(r"([\\`*_\[\]|~])")
_CALLS = {"@": "&#64;", "#": "&#35;"}
"""What a forge makes a link of: to somebody, who is then told, and to a number."""
_LONGEST_WORDS = 20_000


class _Row(Struct, frozen=True):
    name: str
    before: str
    after: str
    change: str = ""


def change_table(old: Plan | None, new: Plan) -> str:
    """Return the table, and below it what differs in words; ``old`` is None where there was no plan before."""
    found = differences(old, new) if old else ()
    if old and not found:
        return f"**Plan of {_plain(new.fleet)}**: the plans promise the same\n"
    rows = [*_whole(old, new), *(row for role in _roles(old, new) for row in _of_role(role, old, new))]
    lines = [
        f"**Plan of {_plain(new.fleet)}**: {_headline(new)}{'' if old else '; there was none before'}",
        "",
        "| | before | after | change |",
        "|---|---:|---:|---:|",
        *map(_line, (row for row in rows if (row.before, row.after) != (_NONE, _NONE))),
    ]
    return "\n".join([*lines, *(_folded(difference(found)) if old else [])]) + "\n"


def _line(row: _Row) -> str:
    return f"| {' | '.join(map(_plain, (row.name, row.before, row.after, row.change)))} |"


def _headline(plan: Plan) -> str:
    used = sum(bool(gpu.servers) for gpu in plan.gpus)
    proof = "proven best" if plan.proof.proven else "not proven best"
    return f"{plural(len(plan.servers), 'server')} on {plural(used, 'GPU')}, {proof}"


def _whole(old: Plan | None, new: Plan) -> Iterator[_Row]:
    yield _numbers("GPUs in use", old, new, lambda plan: sum(bool(gpu.servers) for gpu in plan.gpus), str)
    yield _numbers("memory of all servers", old, new, _taken, format_gib)
    yield _numbers("free on the fullest GPU", old, new, lambda plan: min(_free(plan), default=0), format_gib)
    yield _numbers("price per hour", old, new, _paid, lambda micro: f"{dollars(micro / 1e6)} $")
    now, before = new.money, old.money if old else None
    yield _Row(
        "a million output tokens, all requests running",
        tokens_price(before.full_load) if before else _NONE,
        tokens_price(now.full_load) if now else _NONE,
        _share(before.full_load.output.value, now.full_load.output.value) if before and now else "",
    )


def _of_role(role: str, old: Plan | None, new: Plan) -> Iterator[_Row]:
    """Yield what a role gets: its model, its limits, its memory, its speed."""
    before, after = (_servers(plan, role) for plan in (old, new))
    for name, say in (("model", _model), ("context", _context)):
        yield _Row(f"{role}: {name}", say(before), say(after))
    yield _counts(f"{role}: requests at once", before, after, lambda one: one.requests, str)
    yield _counts(f"{role}: memory", before, after, lambda one: one.ledger.total_bytes * one.ranks, format_gib)
    yield _timed(f"{role}: time per output token", before, after, lambda one: one.speed.tpot_us if one.speed else None)
    yield _timed(f"{role}: time to first token", before, after, lambda one: one.speed.ttft_us if one.speed else None)


def _roles(old: Plan | None, new: Plan) -> list[str]:
    return sorted({server.role for plan in (old, new) if plan for server in plan.servers})


def _servers(plan: Plan | None, role: str) -> list[ServerPlan]:
    return [server for server in plan.servers if server.role == role] if plan else []


def _numbers(
    name: str, old: Plan | None, new: Plan, of: Callable[[Plan], int | None], write: Callable[[int], str]
) -> _Row:
    return _row(name, of(old) if old else None, of(new), write)


def _counts(
    name: str,
    before: list[ServerPlan],
    after: list[ServerPlan],
    of: Callable[[ServerPlan], int],
    write: Callable[[int], str],
) -> _Row:
    was, now = (sum(map(of, servers)) if servers else None for servers in (before, after))
    return _row(name, was, now, write)


def _row(name: str, before: int | None, after: int | None, write: Callable[[int], str]) -> _Row:
    was, now = (_NONE if value is None else write(value) for value in (before, after))
    change = ""
    if before is not None and after is not None and before != after:
        change = f"{'+' if after > before else '−'}{write(abs(after - before))}"
    return _Row(name, was, now, change)


def _timed(
    name: str, before: list[ServerPlan], after: list[ServerPlan], of: Callable[[ServerPlan], Range | None]
) -> _Row:
    """Return the row of a speed: that of the slowest server of a role, with its range."""
    was, now = (_slowest(map(of, servers)) for servers in (before, after))
    before_text, after_text = (_time(one) if one else _NONE for one in (was, now))
    return _Row(name, before_text, after_text, _share(was.value, now.value) if was and now else "")


def _slowest(ranges: Iterable[Range | None]) -> Range | None:
    return max((one for one in ranges if one), key=lambda one: one.value, default=None)


def _time(one: Range) -> str:
    scale, unit = (1_000_000, "s") if one.value >= 1_000_000 else (1000, "ms")
    value, low, high = (f"{figure / scale:.1f}" for figure in (one.value, one.low, one.high))
    return f"{value} {unit} ({low} to {high})"


def _share(before: int, after: int) -> str:
    """Say by how many percent a figure changed; nothing where that rounds to none."""
    percent = round((after - before) * 100 / before) if before else 0
    return f"{'+' if percent > 0 else '−'}{abs(percent)} %" if percent else ""


def _taken(plan: Plan) -> int:
    return sum(server.ledger.total_bytes * server.ranks for server in plan.servers)


def _free(plan: Plan) -> Iterator[int]:
    return (gpu.free_bytes for gpu in plan.gpus if gpu.servers)


def _paid(plan: Plan) -> int | None:
    return plan.price.micro_per_hour if plan.price else None


def _model(servers: list[ServerPlan]) -> str:
    return ", ".join(dict.fromkeys(f"{one.model} {one.scheme}" for one in servers)) or _NONE


def _context(servers: list[ServerPlan]) -> str:
    return ", ".join(dict.fromkeys(format_tokens(one.max_model_len) for one in servers)) or _NONE


def _plain(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    kept = html.escape(_SPECIAL.sub(r"\\\1", " ".join(text.split())), quote=False)
    return re.sub("(?<!&)[@#]", lambda match: _CALLS[match[0]], kept)


def _folded(words: str) -> list[str]:
    """Return text under a fold, in a fence that no line of it ends."""
    fence = "`" * (1 + max([2, *(len(run) for run in re.findall("`+", words))]))
    return [
        "",
        "<details><summary>in words</summary>",
        "",
        f"{fence}text",
        words[:_LONGEST_WORDS],
        fence,
        "",
        "</details>",
    ]
