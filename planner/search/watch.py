"""Watch: how far the solver is, for another thread to look at, and the way to end it early.

Nothing here changes an answer: the callbacks only note what the search has reached. What has been found when a watch is
stopped is what a spent budget would have left: the best plan so far, or none.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from ortools.sat.python import cp_model

_TICK_SECONDS = 0.1

_current: ContextVar["Watch | None"] = ContextVar("watch", default=None)

Figure = Callable[[float], int]
"""What an objective of the solver means in the unit of a stage."""


@dataclass(slots=True)
class Watch:
    """What is being maximised, the value reached and the bound so far; None until there is one.

    ``task`` says what is being looked for, where that is not the plan itself.
    """

    task: str = ""
    stage: str = ""
    value: int | None = None
    bound: int | None = None
    stopped: bool = False
    _solver: cp_model.CpSolver | None = None

    def stop(self) -> None:
        """End the search that is running, and any that would follow; can be called from any thread, and again."""
        self.stopped = True
        solver = self._solver
        if solver:
            solver.stop_search()

    def follow(self, solver: cp_model.CpSolver, model: cp_model.CpModel, figure: Figure) -> cp_model.CpSolverStatus:
        """Solve a model, and note what is reached."""
        self.value = self.bound = None
        solver.best_bound_callback = lambda bound: self._note(bound=figure(bound))
        self._solver = solver
        try:
            return solver.solve(model, _Noting(self, figure))
        finally:
            self._solver = None

    def _note(self, *, value: int | None = None, bound: int | None = None) -> None:
        self.value = self.value if value is None else value
        self.bound = self.bound if bound is None else bound


class _Noting(cp_model.CpSolverSolutionCallback):
    """Notes the value and the bound of every better solution."""

    def __init__(self, watch: Watch, figure: Figure) -> None:
        super().__init__()
        self._watch, self._figure = watch, figure

    def on_solution_callback(self) -> None:
        """Called by the solver with each better solution."""
        self._watch.value = self._figure(self.objective_value)
        self._watch.bound = self._figure(self.best_objective_bound)


@contextmanager
def watched_by(watch: Watch) -> Iterator[None]:
    """Let a watch follow all solving inside."""
    token = _current.set(watch)
    try:
        yield
    finally:
        _current.reset(token)


def stopped() -> bool:
    """Whether whoever watches wants no more."""
    watch = _current.get()
    return watch is not None and watch.stopped


def task(name: str) -> None:
    """Tell whoever watches what is being looked for."""
    if watch := _current.get():
        watch.task = name


def solve(solver: cp_model.CpSolver, model: cp_model.CpModel, stage: str, figure: Figure) -> cp_model.CpSolverStatus:
    """Solve a model; whoever watches is told which stage that is, and may end it."""
    solver.parameters.catch_sigint_signal = False  # it would take Ctrl-C for a spent budget, and say nothing
    watch = _current.get()
    if watch is None:
        return _alone(solver, model)
    if watch.stopped:
        return cp_model.UNKNOWN
    watch.stage = stage
    return watch.follow(solver, model, figure)


def _alone(solver: cp_model.CpSolver, model: cp_model.CpModel) -> cp_model.CpSolverStatus:
    """Solve a model that nobody watches, in a thread, so that Ctrl-C is heard and raises as in any Python code."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(solver.solve, model)
        try:
            return future.result()
        except KeyboardInterrupt:
            while not wait([future], _TICK_SECONDS).done:
                solver.stop_search()
            raise
