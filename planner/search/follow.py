"""Follow: a run of the solver that whoever watches sees and may end, and that Ctrl-C ends where nobody does."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

from planner.search.cp_sat import cp_model
from planner.search.watch import Watch, current

_TICK_SECONDS = 0.1

Figure = Callable[[float], int]
"""What an objective of the solver means in the unit of a stage."""


class _Noting(cp_model.CpSolverSolutionCallback):
    """Notes the value and the bound of every better solution."""

    def __init__(self, watch: Watch, figure: Figure) -> None:
        super().__init__()
        self._watch, self._figure = watch, figure

    def on_solution_callback(self) -> None:
        """Called by the solver with each better solution."""
        self._watch.value = self._figure(self.objective_value)
        self._watch.bound = self._figure(self.best_objective_bound)


def solve(solver: cp_model.CpSolver, model: cp_model.CpModel, stage: str, figure: Figure) -> cp_model.CpSolverStatus:
    """Solve a model; whoever watches is told which stage that is, and may end it."""
    solver.parameters.catch_sigint_signal = False  # it would take Ctrl-C for a spent budget, and say nothing
    watch = current()
    if watch is None:
        return _alone(solver, model)
    if watch.stopped:
        return cp_model.UNKNOWN
    watch.stage, watch.step = stage, ""
    return _watched(watch, solver, model, figure)


def _watched(
    watch: Watch, solver: cp_model.CpSolver, model: cp_model.CpModel, figure: Figure
) -> cp_model.CpSolverStatus:
    """Solve a model, and note what is reached."""
    watch.value = watch.bound = None

    def note(bound: float) -> None:
        watch.bound = figure(bound)

    solver.best_bound_callback = note
    watch.solver = solver
    try:
        return solver.solve(model, _Noting(watch, figure))
    finally:
        watch.solver = None


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
