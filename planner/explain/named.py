"""Many names, or numbers, in few words: ``chat-1 to 8``, ``h-1 to 125 GPU 0 to 7``."""

import re
from collections.abc import Iterable, Iterator, Sequence

from planner.explain.words import listed
from planner.plan import GPULedger

_RUN = 3
"""Numbers in a row from which on only the first and the last are written."""

_NUMBERED = re.compile(r"(?a:(.*?)([1-9]\d{0,8}|0))")


def named(names: Iterable[str]) -> str:
    """Join names as a sentence does; those that differ only in a number at their end and follow one another as a run.

    ``chat-1``, ``chat-2``, ``chat-3`` and ``find`` are ``chat-1 to 3 and find``.
    """
    stems: dict[str, list[int | None]] = {}
    for name in names:
        found = _NUMBERED.fullmatch(name)
        stem, number = (found[1], int(found[2])) if found else (name, None)
        stems.setdefault(stem, []).append(number)
    return listed([part for stem, numbers in stems.items() for part in _parts(stem, numbers)])


def numbered(numbers: Iterable[int]) -> str:
    """Write numbers with runs: ``8001 and 8004 to 8010``."""
    return listed([part for run in _runs(numbers) for part in _run("", run)])


def gpus_named(gpus: Sequence[GPULedger], *, nodes: bool) -> str:
    """Name GPUs, with their nodes where there are several: ``GPU 4 to 7``, ``h-1 to 3 GPU 0 to 7; h-4 GPU 0``."""
    on: dict[str, list[int]] = {}
    for gpu in gpus:
        on.setdefault(gpu.node, []).append(gpu.index)
    alike: dict[tuple[int, ...], list[str]] = {}
    for node, indices in on.items():
        alike.setdefault(tuple(indices), []).append(node)
    return "; ".join((f"{named(there)} " if nodes else "") + f"GPU {numbered(each)}" for each, there in alike.items())


def _parts(stem: str, numbers: Sequence[int | None]) -> Iterator[str]:
    if None in numbers:
        yield stem
    for run in _runs(number for number in numbers if number is not None):
        yield from _run(stem, run)


def _run(stem: str, run: range) -> Iterator[str]:
    if len(run) < _RUN:
        yield from (f"{stem}{number}" for number in run)
    else:
        yield f"{stem}{run[0]} to {run[-1]}"


def _runs(numbers: Iterable[int]) -> Iterator[range]:
    run = range(0)
    for number in sorted(set(numbers)):
        if run and number == run[-1] + 1:
            run = range(run[0], number + 1)
        else:
            if run:
                yield run
            run = range(number, number + 1)
    if run:
        yield run
