"""Progress on stderr while the solver works, and Ctrl-C, which asks it for the best it has.

The work is done in a thread of its own, so that this one can look at it and hear signals. Where stderr is no terminal
nothing is shown: a log wants no line that is rewritten.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

import click

from planner.cli.frame import EXIT_INTERRUPTED, hint
from planner.explain.words import COSTS, stage_value
from planner.fleet import Fleet
from planner.plan import COST, GPUS_IN_USE
from planner.solve import BudgetSpent
from planner.solve.stages import ORDER
from planner.solve.watch import Watch, watched_by

_TICK_SECONDS = 0.2
_QUIET_SECONDS = 2.0
_CLEAR = "\r\x1b[K"

T = TypeVar("T")


def watched(fleet: Fleet, work: Callable[[], T]) -> T:
    """Return what some work returns, which solves a fleet; show how it goes, and end it early on Ctrl-C.

    The first Ctrl-C asks the solver for the best it has, which then is the answer; without any the process ends. The
    second one ends it at once.
    """
    watch, line = Watch(), _Line(fleet.priced)

    def inside() -> T:
        with watched_by(watch):
            return work()

    with ThreadPoolExecutor(1) as pool, _interrupting(watch, line):
        future = pool.submit(inside)
        while not wait([future], _TICK_SECONDS).done:
            if watch.stopped:
                watch.stop()  # again, for a search that began just when it was stopped
            line.show(watch)
        line.clear()
        return _result(future, watch)


def _result(future: "Future[T]", watch: Watch) -> T:
    try:
        return future.result()
    except BudgetSpent:
        if not watch.stopped:
            raise
        click.echo("interrupted before a plan was found; it is not proven that there is none", err=True)
        raise SystemExit(EXIT_INTERRUPTED) from None


@contextmanager
def _interrupting(watch: Watch, line: "_Line") -> Iterator[None]:
    """Let the first Ctrl-C stop the search and the second one end the process."""

    def interrupt(_: int, __: FrameType | None) -> None:
        line.clear()
        if watch.stopped:
            sys.stderr.write("interrupted; nothing was written\n")
            sys.stderr.flush()
            os._exit(EXIT_INTERRUPTED)  # the solver's thread cannot be ended in any other way
        watch.stop()
        hint("interrupted: taking the best plan found so far; once more ends at once")

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Line:
    """One line of a terminal that is rewritten; shows nothing in the first seconds, and never where it is a file."""

    def __init__(self, priced: bool) -> None:
        self._priced = priced
        self._begin = time.monotonic()
        self._there = False
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def show(self, watch: Watch) -> None:
        """Write how far the search is."""
        seconds = time.monotonic() - self._begin
        if self._terminal and seconds >= _QUIET_SECONDS and not watch.stopped:
            text = f"{seconds:.0f} s  {progress(watch, priced=self._priced)}  (Ctrl-C takes the best so far)"
            sys.stderr.write(_CLEAR + text[: shutil.get_terminal_size().columns - 1])
            sys.stderr.flush()
            self._there = True

    def clear(self) -> None:
        """Leave no trace of the line."""
        if self._there:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()
            self._there = False


def progress(watch: Watch, *, priced: bool) -> str:
    """Say what is being looked for, which stage that is at, and how far its value may still go."""
    task = f"{watch.task}: " if watch.task else ""
    stage = GPUS_IN_USE if watch.stage == COST and not priced else watch.stage
    value, bound = watch.value, watch.bound
    if not stage:
        return f"{task}preparing"
    if value is None:
        return f"{task}{stage}"
    if stage.startswith(ORDER):
        return f"{task}settling the {stage}"
    limit = "" if bound is None else f", at {'least' if stage in COSTS else 'most'} {stage_value(stage, bound)}"
    return f"{task}{stage} {stage_value(stage, value)}{limit}"
