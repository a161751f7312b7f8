"""Watch: how far the solver is, for another thread to look at, and the way to end it early.

Nothing here changes an answer: a watch only holds what the search has reached. What has been found when it is stopped
is what a spent budget would have left: the best plan so far, or none. ``follow`` is what fills it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from msgspec import Struct

from planner.search.budget import BudgetSpent

_current: ContextVar["Watch | None"] = ContextVar("watch", default=None)

_PATIENCE_SECONDS = 0.5
"""How long a plan may still become better after the search was ended."""


class _Stoppable(Protocol):
    def stop_search(self) -> None: ...


class Watch(Struct):
    """What is being maximised, the value reached and the bound so far; None until there is one.

    ``task`` says what is being looked for, where that is not the plan itself, and ``step`` what is done for it before
    anything is maximised. ``solver`` is the one that runs.
    """

    task: str = ""
    step: str = ""
    stage: str = ""
    value: int | None = None
    bound: int | None = None
    stopped: bool = False
    stopped_at: float = 0.0
    solver: _Stoppable | None = None

    def stop(self) -> None:
        """End the search that is running, and any that would follow; can be called from any thread, and again."""
        if not self.stopped:
            self.stopped_at = time.monotonic()
        self.stopped = True
        solver = self.solver
        if solver:
            solver.stop_search()


@contextmanager
def watched_by(watch: Watch) -> Iterator[None]:
    """Let a watch follow all solving inside."""
    token = _current.set(watch)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Watch | None:
    """Return the watch that follows what is solved here."""
    return _current.get()


def stopped() -> bool:
    """Whether whoever watches wants no more."""
    watch = _current.get()
    return watch is not None and watch.stopped


def go_on() -> None:
    """Do nothing, unless whoever watches wants no more: long work without a solver asks this now and then.

    Raises:
        BudgetSpent: the search was ended, and nothing is known yet.
    """
    if stopped():
        raise BudgetSpent(0)


def late() -> bool:
    """Whether whoever watches has waited long enough for what is still to be had without a solver."""
    watch = _current.get()
    return watch is not None and watch.stopped and time.monotonic() > watch.stopped_at + _PATIENCE_SECONDS


def task(name: str) -> None:
    """Tell whoever watches what is being looked for."""
    if watch := _current.get():
        watch.task = name


def step(name: str) -> None:
    """Tell whoever watches what is done before anything is maximised."""
    if watch := _current.get():
        watch.step = name
