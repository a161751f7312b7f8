"""What commands that solve share: how long they may, progress on stderr, and Ctrl-C, which asks for the best there is.

The work is done in a thread of its own, so that this one can look at it and hear signals. Where stderr is no terminal
nothing is shown: a log wants no line that is rewritten.
"""

import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, TypeVar

import click

from planner.check.headroom import HEADROOM
from planner.cli import shared
from planner.cli.exit_codes import EXIT_INTERRUPTED
from planner.cli.shared import done, hint
from planner.cli.terminal import CLEAR, quiet
from planner.explain.words import COSTS, has_unit, stage_share, stage_value
from planner.fleet import Fleet
from planner.options.problem import stages
from planner.plan import COST, GPUS_IN_USE
from planner.search.budget import ORDER, BudgetSpent
from planner.search.watch import Watch, watched_by

_TICK_SECONDS = 0.2
_QUIET_SECONDS = 0.5
_STDERR = 2

T = TypeVar("T")


def watched(fleet: Fleet, work: Callable[[], T]) -> T:
    """Return what some work returns, which solves a fleet; show how it goes, and end it early on Ctrl-C.

    The first Ctrl-C asks the solver for the best it has, which then is the answer; without any the process ends. The
    second one ends it at once.
    """
    watch, line, told, name = Watch(), _Line(), False, ""
    names = (*stages(fleet.objective), HEADROOM)
    with _aside(watch, work) as future:
        while not wait([future], _TICK_SECONDS).done:
            if (now := _doing(watch, names)) != name:
                line.clear()
                done(f"{now}{'' if watch.step else watch.stage}")
                name = now
            if not watch.stopped:
                line.show(progress(watch, names, priced=fleet.priced), "  (Ctrl-C takes the best so far)")
                continue
            watch.stop()  # again, for a search that began just when it was stopped
            line.clear()
            if not told:
                hint("interrupted: taking the best plan found so far; once more ends at once")
            told = True
        line.clear()
        try:
            return future.result()
        except BudgetSpent:
            if not watch.stopped:
                raise
            click.echo("interrupted before a plan was found", err=True)
            raise SystemExit(EXIT_INTERRUPTED) from None


def counted(items: Iterable[T], total: int, what: str) -> list[T]:
    """Return all of some items that take long to come, and show how many there are; Ctrl-C ends the process."""
    watch, line = Watch(), _Line()
    found: list[T] = []

    def collect() -> None:
        for item in items:
            found.append(item)
            if watch.stopped:
                return

    with _aside(watch, collect) as future:
        while not wait([future], _TICK_SECONDS).done:
            line.show(f"{len(found)} of {total} {what}")
            if watch.stopped:
                for process in multiprocessing.active_children():
                    process.terminate()
        line.clear()
        if watch.stopped:
            raise KeyboardInterrupt
        future.result()
    return found


@contextmanager
def _aside(watch: Watch, work: Callable[[], T]) -> Iterator["Future[T]"]:
    """Do work that solves in a thread of its own; Ctrl-C stops its search, and a second one ends the process."""

    def inside() -> T:
        with watched_by(watch):
            return work()

    def interrupt(_: int, __: FrameType | None) -> None:
        if watch.stopped:
            _end()
        watch.stop()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with ThreadPoolExecutor(1) as pool:
            yield pool.submit(inside)
    finally:
        signal.signal(signal.SIGINT, before)


def _end() -> NoReturn:
    """End the process at once: a thread that solves cannot be ended in any other way.

    It is called while a signal is handled, where a stream that is being written to must not be touched.
    """
    os.write(_STDERR, b"\ninterrupted; nothing was written\n")
    os._exit(EXIT_INTERRUPTED)


class _Line:
    """One line of a terminal that is rewritten; shows nothing in the first half second, nor where it is a file."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._there = False
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not quiet()

    def show(self, text: str, more: str = "") -> None:
        """Write how long it has taken, and how far it is; ``more`` is for who sits at the terminal."""
        for listener in shared.listeners:
            listener(text)
        seconds = time.monotonic() - self._begin
        if self._terminal and seconds >= _QUIET_SECONDS:
            whole = f"{seconds:.0f} s  {text}{more}"
            sys.stderr.write(CLEAR + whole[: shutil.get_terminal_size().columns - 1])
            sys.stderr.flush()
            self._there = True

    def clear(self) -> None:
        """Leave no trace of the line."""
        if self._there:
            sys.stderr.write(CLEAR)
            sys.stderr.flush()
            self._there = False


def _doing(watch: Watch, names: Sequence[str]) -> str:
    """Say what is being done: what is looked for, and the step of that, or which of the stages."""
    task = f"{watch.task}: " if watch.task else ""
    if watch.step or not watch.stage:
        return f"{task}{watch.step}" if watch.step else watch.task or "preparing"
    count = f"stage {names.index(watch.stage) + 1} of {len(names)}, " if watch.stage in names else ""
    return f"{task}{count}"


def progress(watch: Watch, names: Sequence[str], *, priced: bool) -> str:
    """Say what is being looked for, at which stage of ``names`` that is, and how far its value may still go."""
    task = _doing(watch, names)
    if watch.step or not watch.stage:
        return task
    stage = GPUS_IN_USE if watch.stage == COST and not priced else watch.stage
    value, bound = watch.value, watch.bound
    if value is None:
        return f"{task}{stage}"
    if stage.startswith(ORDER):
        return f"{task}settling the {stage}"
    if not has_unit(stage):
        return f"{task}{stage}: {_short_of(value, bound)}"
    limit = "" if bound is None else f", at {'least' if stage in COSTS else 'most'} {stage_value(stage, bound)}"
    return f"{task}{stage} {stage_value(stage, value)}{limit}"


def _short_of(value: int, bound: int | None) -> str:
    """Say how far the best plan so far may be from the best there is."""
    if bound is None or bound == value:
        return "a plan is found"
    return f"the best so far, and up to {stage_share(bound - value, value, at_most=True)} more may be possible"
