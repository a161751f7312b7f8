"""Stages: maximise one thing after another, each proven before the next begins.

Adjacent stages whose ranges multiply to less than 2**50 are solved as one weighted sum: with the weight of a stage
larger than everything the later ones can add up to, the optimum of the sum is the lexicographic optimum, and one solve
is several times faster than a chain. Headroom is too wide for that and stands alone. Last comes the canonical order:
among plans equal in everything, the one whose roles, in order of their names, have the first candidate and the most
sequences.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from planner.search import follow
from planner.search.budget import ORDER, SIZE, STEPS, BudgetSpent, purse
from planner.search.cp_sat import cp_model
from planner.search.model import Model, most_surplus
from planner.search.problem import COST, MINIMAL_CHANGE, Problem, StageValue
from planner.search.watch import stopped

SEED = 1
HEADROOM = "headroom"
_SHARE = 1 / 2
"""How much of what is left of the budget a stage may take, so that there is something for the next ones."""
_REST = 1 / 8
"""The same after a stage without a proof: nothing is proven any more, only made as good as a little time allows."""
_WIDEST = 1 << 50
_LARGEST = 1 << 61
"""What the terms of an objective may add up to, regardless of sign and of what excludes what: CP-SAT refuses a model
whose objective could leave 64 bits."""


class Chain(Struct, frozen=True):
    """What a chain of stages ended with: the values of the stages, and the solver that holds the last solution."""

    stages: tuple[StageValue, ...]
    solver: cp_model.CpSolver


class _Range(Struct, frozen=True):
    """What is maximised, whose value lies between ``low`` and ``high``."""

    name: str
    low: int
    high: int


class _Goal(_Range, frozen=True):
    """The same as a sum in a model."""

    expression: cp_model.LinearExpr


_R = TypeVar("_R", bound=_Range)


class Weighing(Struct, frozen=True):
    """The first stage, and those that fit into one sum with it: what each weighs in it, and what it is at least."""

    weights: tuple[int, ...]
    least: tuple[int, ...]

    def sum(self, values: Sequence[int]) -> int:
        """Return the weighted sum of the values of the first stages; more of them may follow."""
        return sum(weight * value for weight, value in zip(self.weights, values, strict=False))

    def first(self, total: int) -> int:
        """Return the most that the first stage can be in a sum."""
        rest = sum(weight * least for weight, least in zip(self.weights[1:], self.least[1:], strict=True))
        return (total - rest) // self.weights[0]


def run_chain(model: Model, budget: float, *, canonical: bool = True, patience: int | None = None) -> Chain | None:
    """Maximise every stage of a model's problem, headroom, and the canonical order; None when nothing is feasible.

    With ``patience`` the chain ends there when the first solve has no proof after so many deterministic seconds.

    Raises:
        BudgetSpent: not even a first solution was found within the budget.
    """
    terms = 2 * len(model.chosen)
    bundles = [*_bundles(_goals(model), terms), [_headroom(model)]]
    counted = sum(map(len, bundles))
    bundles += _bundles(_canonical(model), terms) if canonical else []
    stages: list[StageValue] = []
    best: cp_model.CpSolver | None = None
    for goals in bundles:
        proven = all(stage.proven for stage in stages)
        if len(stages) >= counted and not proven:
            break
        try:
            if patience is not None and best is not None and not stages[0].proven:
                raise BudgetSpent(patience)
            most = budget if patience is None or best else min(patience, budget)
            solver = _maximise(model, goals, min(most, purse().left * (_SHARE if proven else _REST)))
        except BudgetSpent:
            if best is None:
                raise
            stages += [_unproven(goal, best) for goal in goals]
            continue
        if solver is None:
            return None
        stages += _hold(model, goals, solver)
        _hint(model, solver)
        best = solver
    assert best is not None
    goals = [goal for bundle in bundles for goal in bundle]
    latest = [_latest(goal, stage, best) for goal, stage in zip(goals, stages, strict=False)]
    reported = {*model.problem.stages, HEADROOM}
    return Chain(tuple(_chained(stage for stage in latest if stage.name in reported)), best)


def confirmed(model: Model, budget: float) -> Chain | None:
    """Return all stages of a model's only choice, which is known to be the best; None when it has no places.

    Raises:
        BudgetSpent: the solver could not tell.
    """
    headroom = _headroom(model)
    solver = _maximise(model, [headroom], budget)
    if solver is None or round(solver.objective_value) != round(solver.best_objective_bound):
        return None
    values = [(goal.name, solver.value(goal.expression)) for goal in [*_goals(model), headroom]]
    return Chain(tuple(StageValue(name=name, value=value, bound=value, proven=True) for name, value in values), solver)


def maximise_first(model: Model, budget: float) -> cp_model.CpSolver | None:
    """Maximise the first stage, and those that fit into one sum with it; None when nothing is feasible.

    Raises:
        BudgetSpent: not even a first solution was found within the budget.
    """
    return _maximise(model, _first(model), budget)


def reached(model: Model, solver: cp_model.CpSolver, count: int) -> list[int]:
    """Return the values of the first so many stages in a solution."""
    return [solver.value(model.stage(stage)) for stage in range(count)]


def weighing(model: Model) -> Weighing:
    """Return how the first stages are weighed."""
    first = _bundles(_ranges(model.problem), 2 * len(model.chosen))[0]
    return Weighing(tuple(_weights(first)), tuple(goal.low for goal in first))


def ceilings(problem: Problem) -> dict[str, int]:
    """Return what each stage could reach if all roles had what is best for it alone."""
    return {HEADROOM: _room(problem), **{found.name: found.high for found in _ranges(problem)}}


def relaxed(model: Model, stages: Iterable[StageValue], budget: float) -> Iterator[StageValue]:
    """Yield stages with bounds as low as the choice alone shows: what is as good in all stages before has no more.

    ``model`` has no places, so that each of these solves is short; it is used up.
    """
    goals = {goal.name: goal for goal in [*_goals(model), _headroom(model)]}
    proven = True
    for position, stage in enumerate(stages):
        goal, bound = goals[stage.name], stage.bound
        if position > 0 and not stage.proven and bound > stage.value:
            with contextlib.suppress(BudgetSpent):
                if solver := _maximise(model, [goal], budget):
                    bound = min(bound, max(stage.value, round(solver.best_objective_bound)))
        model.cp.add(goal.expression >= stage.value)
        proven = proven and bound == stage.value
        yield replace(stage, bound=bound, proven=proven)


def choices(model: Model, solver: cp_model.CpSolver) -> list[tuple[int, int] | None]:
    """Read the candidate and the sequences of every role, None for one that is left out."""
    found: list[tuple[int, int] | None] = []
    for role in range(len(model.problem.roles)):
        keys = [key for key, _ in model.rows(role) if solver.boolean_value(model.chosen[key])]
        found.append((keys[0][1], solver.value(model.sequences[keys[0]])) if keys else None)
    return found


def new_solver(budget: float) -> cp_model.CpSolver:
    """Return a solver that repeats itself, with two steps off that lose solutions.

    ortools 9.15 loses solutions, the best ones among them, and calls models impossible that are not, when it looks for
    linear constraints included in one another: ours have many over the same variables with coefficients of many GiB.
    And it does when it gathers precedences of one variable before several others into one constraint.
    tests/test_solver.py and tests/test_cost.py have fleets that it gets wrong with these steps.

    Nor does it probe before it searches: 49 models of seven fleets took 5.7 s of CPU without that and 12.0 s with it.
    """
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = SEED
    solver.parameters.max_deterministic_time = budget / STEPS
    solver.parameters.presolve_inclusion_work_limit = 0
    solver.parameters.auto_detect_greater_than_at_least_one_of = False
    solver.parameters.cp_model_probing_level = 0
    return solver


def run(model: Model, budget: float, stage: str = "", figure: follow.Figure = round) -> cp_model.CpSolver | None:
    """Run the solver so that the same model gives the same answer anywhere; None when nothing is feasible.

    Whoever watches is told the ``stage``, and its value and bound by ``figure`` of the objective's.

    Raises:
        BudgetSpent: the solver could not tell.
    """
    if stopped() or purse().left <= 0:
        raise BudgetSpent(budget)
    solver = new_solver(min(budget, purse().left))
    status = follow.solve(solver, model.cp, stage, figure)
    purse().spend(solver.response_proto.deterministic_time * STEPS + len(model.cp.proto.variables) / SIZE)
    assert status != cp_model.MODEL_INVALID, model.cp.validate()
    if status == cp_model.INFEASIBLE:
        return None
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        raise BudgetSpent(budget)
    return solver


def _first(model: Model) -> list[_Goal]:
    return _bundles(_goals(model), 2 * len(model.chosen))[0]


def _goals(model: Model) -> list[_Goal]:
    """Return the problem's stages as sums in a model."""
    return [
        _Goal(found.name, found.low, found.high, model.stage(stage))
        for stage, found in enumerate(_ranges(model.problem))
    ]


def _ranges(problem: Problem) -> list[_Range]:
    """Return the problem's stages with the range each can take."""
    found = []
    for stage, name in enumerate(problem.stages):
        if name == COST:
            found.append(_Range(name, -sum(pool.most_price for pool in problem.pools), 0))
            continue
        low = high = 0
        for role in problem.roles:
            ends = [c.value(stage, count) for c in role.candidates for count in (c.least, c.most)]
            ends += [0] if role.optional else []
            low, high = low + min(ends), high + max(ends)
        low = 0 if name == MINIMAL_CHANGE else low  # no more than the worth of a role is moved
        low -= sum(team.worth[stage] * most_surplus(problem, team) for team in problem.teams)
        found.append(_Range(name, low, high))
    return found


def _headroom(model: Model) -> _Goal:
    return _Goal(HEADROOM, 0, _room(model.problem), model.headroom())


def _room(problem: Problem) -> int:
    return sum(pool.capacity * pool.gpus for pool in problem.pools)


def _canonical(model: Model) -> list[_Goal]:
    """Return one goal per role: the first candidate, then the most sequences."""
    goals = []
    for position, role in enumerate(model.problem.roles):
        step = max((candidate.most for candidate in role.candidates), default=0) + 1
        keys = [key for key, _ in model.rows(position)]
        variables = [model.chosen[key] for key in keys] + [model.sequences[key] for key in keys]
        factors = [-key[1] * step for key in keys] + [1] * len(keys)
        expression = cp_model.LinearExpr.weighted_sum(variables, factors)
        goals.append(_Goal(f"{ORDER}{role.name}", -step * len(role.candidates), step, expression))
    return goals


def _bundles(goals: list[_R], terms: int) -> list[list[_R]]:
    """Group adjacent goals whose ranges together are narrow enough for one weighted sum of so many terms."""
    bundles: list[list[_R]] = []
    width, size = _WIDEST, terms
    for goal in goals:
        largest = max(abs(goal.low), abs(goal.high), goal.high - goal.low) + 1
        width, size = width * (goal.high - goal.low + 1), size * largest
        if width >= _WIDEST or size >= _LARGEST:
            bundles.append([])
            width, size = goal.high - goal.low + 1, terms * largest
        bundles[-1].append(goal)
    return bundles


def _maximise(model: Model, goals: list[_Goal], budget: float) -> cp_model.CpSolver | None:
    """Solve one bundle; None when nothing is feasible."""
    model.cp.maximize(cp_model.LinearExpr.weighted_sum([goal.expression for goal in goals], _weights(goals)))
    return run(model, budget, goals[0].name, lambda total: _leading(goals, total))


def _weights(goals: Sequence[_Range]) -> list[int]:
    """Return a weight for each goal of a bundle that all later goals together cannot make up."""
    return [math.prod(later.high - later.low + 1 for later in goals[place + 1 :]) for place in range(len(goals))]


def _leading(goals: list[_Goal], total: float) -> int:
    """Return what a value, or a bound, of the weighted sum of a bundle is for its first goal."""
    weights = _weights(goals)
    least = sum(weight * goal.low for weight, goal in zip(weights, goals, strict=True))
    return goals[0].low + (round(total) - least) // weights[0]


def _hold(model: Model, goals: list[_Goal], solver: cp_model.CpSolver) -> list[StageValue]:
    """Hold the goals of a bundle at what was reached, and return that with what was proven."""
    optimal = round(solver.objective_value) == round(solver.best_objective_bound)
    first = _leading(goals, solver.best_objective_bound)
    found = []
    for goal in goals:
        value = solver.value(goal.expression)
        bound = value if optimal else first if goal is goals[0] else goal.high
        model.cp.add(goal.expression >= value)
        found.append(StageValue(name=goal.name, value=value, bound=bound, proven=optimal))
    return found


def _hint(model: Model, solver: cp_model.CpSolver) -> None:
    """Begin the next solve at the last solution, which still satisfies every row: it ends about twice as fast."""
    model.cp.clear_hints()  # type: ignore[no-untyped-call]
    for index in range(len(model.cp.proto.variables)):
        variable = model.cp.get_int_var_from_proto_index(index)
        model.cp.add_hint(variable, solver.value(variable))


def _unproven(goal: _Goal, solver: cp_model.CpSolver) -> StageValue:
    """Return what an earlier solution has of a goal that the budget did not suffice to look at."""
    return StageValue(name=goal.name, value=solver.value(goal.expression), bound=goal.high, proven=False)


def _latest(goal: _Goal, stage: StageValue, solver: cp_model.CpSolver) -> StageValue:
    """Return a stage with what the last solution has of it: more than its own solve found, where that had no proof."""
    value = solver.value(goal.expression)
    return replace(stage, value=value, bound=max(stage.bound, value))


def _chained(stages: Iterable[StageValue]) -> Iterator[StageValue]:
    """Call a stage proven only when all stages before it are."""
    proven = True
    for stage in stages:
        proven = proven and stage.proven
        yield replace(stage, proven=proven)
