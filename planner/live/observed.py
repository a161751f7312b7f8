"""What was asked of the servers -> what a fleet file may ask for, as edits of its text that keep everything else."""

import math
import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from planner.fleet.values import tokens
from planner.live.prometheus import Asked
from planner.yaml_source import FieldPath, Source

_SCALAR = re.compile(r"[^\s,}\]#]+")


class Proposal(Struct, frozen=True):
    """One value that a fleet file may have, beside the one it has (None: none)."""

    path: FieldPath
    before: Any
    after: str


def proposals(source: Source, role: str, asked: Asked) -> Iterator[Proposal]:
    """Yield what to ask for one role; what the file says already, or was not seen, is left out."""
    at = ("roles", role)
    wanted: list[tuple[FieldPath, str]] = []
    if asked.prompt_tokens:
        lone = isinstance(_value(source, (*at, "request")), int | str)
        wanted.append(((*at, "request", *(() if lone else ("prompt_tokens",))), str(asked.prompt_tokens)))
        if asked.output_tokens and not lone:
            wanted.append(((*at, "request", "output_tokens"), str(asked.output_tokens)))
    if asked.concurrency:
        short = isinstance(_value(source, (*at, "concurrency")), int)
        wanted.append(((*at, "concurrency", *(() if short else ("min",))), str(asked.concurrency)))
        target = _value(source, (*at, "concurrency", "target"))
        if isinstance(target, int) and target < asked.concurrency:
            wanted.append(((*at, "concurrency", "target"), str(asked.concurrency)))
    if asked.requests_per_second:
        wanted.append(((*at, "rate"), rate(asked.requests_per_second)))
    if asked.cached_share:
        wanted.append(((*at, "cached_prompt"), f"{math.floor(100 * min(1.0, asked.cached_share)) / 100:g}"))
    for path, after in wanted:
        before = _value(source, path)
        if not _same(before, after) and not (path[-1] == "cached_prompt" and after == "0"):
            yield Proposal(path, before, after)


def _same(before: Any, after: str) -> bool:  # noqa: ANN401 - any YAML value
    """Whether a file says a value already, in whatever way it writes numbers: 6k is 6000."""
    try:
        return str(before) == after or tokens(before) == int(after)
    except ValueError:
        return False


def rate(per_second: float) -> str:
    """Write a rate as fleet files have it, rounded up: per second, or per minute where it is less than one."""
    return f"{math.ceil(per_second)}/s" if per_second >= 1 else f"{math.ceil(60 * per_second)}/min"


def edited(text: str, source: Source, proposed: list[Proposal]) -> str:
    """Return the text of a fleet file with the proposals in it; comments, order and all other values stay."""
    lines = text.splitlines(keepends=True)
    edits: list[tuple[int, int, int, str]] = []
    added: dict[FieldPath, dict[str, str]] = {}
    for one in proposed:
        if one.path in source.values and one.before is not None:
            line, column = source.values[one.path]
            found = _SCALAR.match(lines[line - 1], column - 1)
            edits.append((line, column - 1, found.end() if found else column - 1, one.after))
        else:
            parent = one.path[:-1]
            added.setdefault(parent, {})[str(one.path[-1])] = one.after
    for parent, keys in _whole(source, added).items():
        line, column = source.values[parent]
        inner = ", ".join(f"{key}: {value}" for key, value in keys.items())
        if lines[line - 1][column - 1 : column] == "{":
            edits.append((line, column, column, inner + ", "))
        else:
            block = "".join(f"{key}: {value}\n{' ' * (column - 1)}" for key, value in keys.items())
            edits.append((line, column - 1, column - 1, block))
    for line, start, end, new in sorted(edits, reverse=True):
        lines[line - 1] = lines[line - 1][:start] + new + lines[line - 1][end:]
    return "".join(lines)


def _whole(source: Source, added: dict[FieldPath, dict[str, str]]) -> dict[FieldPath, dict[str, str]]:
    """Return new keys under maps that the file has: those of a map that it lacks are written as a map of its parent."""
    found: dict[FieldPath, dict[str, str]] = {}
    for parent, keys in added.items():
        if parent in source.values and isinstance(_value(source, parent), dict):
            found.setdefault(parent, {}).update(keys)
        else:
            inner = ", ".join(f"{key}: {value}" for key, value in keys.items())
            found.setdefault(parent[:-1], {})[str(parent[-1])] = f"{{{inner}}}"
    return found


def _value(source: Source, path: FieldPath) -> Any:  # noqa: ANN401 - any YAML value
    here = source.data
    for part in path:
        here = here.get(part) if isinstance(here, dict) else None
    return here
