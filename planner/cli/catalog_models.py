"""The list of models with their checkpoints, as wide as there is room, and what its marks mean."""

from collections.abc import Iterable, Mapping, Sequence

from planner.cli.catalog_facts import Checkpoint
from planner.cli.terminal import columns
from planner.cli.text import fill, table
from planner.facts.variant import Model
from planner.units import BILLION, format_gib, format_tokens

_HEADER = ("MODEL", "SIZE", "TASKS", "LICENCE", "CONTEXT", "SCHEME", "WEIGHTS", "REPOSITORY")
_RIGHT = frozenset({1, 4, 6})
_OF_MODEL = 5
"""Cells of a row that are of the model, before those of the checkpoint."""

_MARKS = {
    "(nc)": "nc: the licence forbids commercial use",
    "(gated)": "gated: its repository wants the licence accepted before it lets anybody download",
    "GiB*": "* rests on something that was assumed; `planner catalog show NAME` says what",
    "?": "?: not known; `planner catalog show NAME` says why",
}

_Chosen = Sequence[tuple[Model, Sequence[Checkpoint]]]


def models_table(chosen: _Chosen) -> str:
    """Return one line per checkpoint; what belongs to the model stands in the line of its first.

    On a terminal that is too narrow for that, a model has a line of its own and its checkpoints stand below it.
    """
    rows = [row for model, checkpoints in chosen for row in _rows(model, checkpoints)]
    widths = (max(map(len, column)) for column in zip(_HEADER, *rows, strict=True))
    wide = columns()
    narrow = wide is not None and sum(widths) + 2 * (len(_HEADER) - 1) > wide
    listed = "\n".join(_listed(rows)) if narrow else table(_HEADER, rows, right=_RIGHT)
    return "\n".join((listed, *marks(listed, _MARKS)))


def marks(listed: str, known: Mapping[str, str]) -> list[str]:
    """Return what the marks mean that a list has, after an empty line; nothing where it has none."""
    found = [meaning for mark, meaning in known.items() if mark in listed]
    return ["", *(fill(meaning, "", "  ") for meaning in found)] if found else []


def _rows(model: Model, checkpoints: Iterable[Checkpoint]) -> Iterable[tuple[str, ...]]:
    for number, checkpoint in enumerate(checkpoints):
        own = ("",) * _OF_MODEL if number else _of_model(model, checkpoint)
        yield (*own, checkpoint.variant.scheme, _size(checkpoint), checkpoint.variant.repository)


def _of_model(model: Model, first: Checkpoint) -> tuple[str, ...]:
    size = f"{model.parameters / BILLION:.4g}B"
    context = format_tokens(first.context_tokens) if first.context_tokens else "?"
    licence = model.licence + " (nc)" * model.non_commercial + " (gated)" * model.gated
    return (model.name, size, ",".join(model.tasks), licence, context)


def _listed(rows: Iterable[Sequence[str]]) -> Iterable[str]:
    rows = list(rows)
    scheme_width = max((len(row[_OF_MODEL]) for row in rows), default=0)
    for row in rows:
        if row[0]:
            name, size, tasks, licence, context = row[:_OF_MODEL]
            yield fill(f"{name}  {size}, {tasks.replace(',', ', ')}, {licence}, {context} tokens", "", "    ")
        scheme, weights, repository = row[_OF_MODEL:]
        yield fill(repository, f"  {scheme:<{scheme_width}}  {weights:>11}  ", "      ")


def _size(checkpoint: Checkpoint) -> str:
    mark = "*" if checkpoint.variant.assumed_fields else ""
    return format_gib(checkpoint.weights_bytes) + mark if checkpoint.weights_bytes else "?"
