"""Frontier: the plans of a fleet of which none is better than another in both of two axes, by ε-constraint.

The first plan has the most of one axis, the *leading* one, and then the most of the other. The next has the most of the
leading axis among all plans that have more of the other than the plan before, and so on until there is none. Every plan
found so is unbeaten, and every unbeaten pair of values is found: one between two neighbours would have been found
instead of the second. The leading axis is ``x`` where less of it is better, else ``y``, so that ``x`` rises from plan
to plan.

A frontier may have hundreds of points. If there are more than asked for, the floor of the other axis rises in equal
steps from the first plan's value to the most there is, and each plan listed is the first unbeaten one from a step.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from planner.catalog import Catalog, load_catalog
from planner.check import require
from planner.conflict.minimal import conflict
from planner.engine.profile import load_profile
from planner.errors import PlannerError
from planner.fleet import POOLING_TASKS, Fleet
from planner.options import Prepared, prepare
from planner.options.problem import in_plan, problem
from planner.options.worth import counts_speed
from planner.plan import AXES, LESS, Frontier, FrontierPoint, NoPlan, Plan
from planner.search import watch
from planner.search.budget import BUDGET, POINTS, BudgetSpent, purse, spending
from planner.search.optimise import optimise
from planner.search.problem import Answer
from planner.solve.alternatives import with_runner_up
from planner.solve.whole import Solved, planned, settled
from planner.solve.within import bounded
from planner.units import ceil_div

_PARTS = 4
"""Parts of what is left of the budget, of which one point of a frontier takes one at most."""


class NoSuchPoint(PlannerError):
    """A frontier has fewer points than the one asked for."""

    def __init__(self, number: int, points: int) -> None:
        self.number, self.points = number, points
        super().__init__(number, points)

    def __str__(self) -> str:
        have = "1 point" if self.points == 1 else f"{self.points} points"
        return f"there is no point {self.number}: the frontier has {have}"


class NoLength(PlannerError):
    """An axis counts speed, and a role does not say how long its requests are."""

    def __init__(self, role: str) -> None:
        self.role = role
        super().__init__(role)

    def __str__(self) -> str:
        hint = f"say it in the fleet file: roles.{self.role}.request: {{prompt_tokens: 2k, output_tokens: 500}}"
        return f"how fast {self.role} is depends on the length of a request\n  hint: {hint}"


class Unlike(PlannerError):
    """An axis counts speed, and a role may have unlike servers, in several pools."""

    def __init__(self, role: str) -> None:
        self.role = role
        super().__init__(role)

    def __str__(self) -> str:
        hint = f"choose axes that count no speed, or leave roles.{self.role}.across_pools out"
        return f"the speed of {self.role} is counted for servers that are all alike\n  hint: {hint}"


class Found(Struct, frozen=True):
    """An answer with the most of the leading axis among all with at least ``floor`` of the other; None is no floor."""

    floor: int | None
    answer: Answer

    @property
    def leading(self) -> int:
        """What it has of the leading axis."""
        return self.answer.stages[0].value

    @property
    def other(self) -> int:
        """What it has of the other axis."""
        return self.answer.stages[1].value

    @property
    def proven(self) -> bool:
        """Whether no answer is better in one axis and as good in the other."""
        return self.answer.stages[1].proven


class _Listed(Struct, frozen=True):
    """The answers of a frontier in their order, and what ``Frontier`` says of them."""

    found: tuple[Found, ...]
    complete: bool
    open_end: bool


class _Search(Struct, frozen=True):
    """One fleet and two axes, as stages: the leading one and the other."""

    fleet: Fleet
    prepared: Prepared
    objective: tuple[str, str]
    budget: int

    def at(self, floor: int | None) -> Fleet:
        """Return the fleet whose best plan is the point of the frontier above a floor."""
        floors = () if floor is None else ((self.objective[1], floor),)
        return replace(self.fleet, objective=self.objective, floors=floors)

    def best(self, floor: int | None) -> Answer | None:
        """Return the answer above a floor; None when there is none."""
        return self._optimise(self.at(floor))

    def most(self) -> int:
        """Return the most there is of the other axis."""
        answer = self._optimise(replace(self.fleet, objective=self.objective[::-1]))
        assert answer is not None
        return answer.stages[0].value

    def _optimise(self, fleet: Fleet) -> Answer | None:
        """Return the answer of one fleet, for which it takes a quarter at most of what is left for all of them."""
        if watch.stopped() or purse().spent:
            raise BudgetSpent(self.budget)
        with spending(min(self.budget, purse().left / _PARTS)):
            try:
                answer = optimise(problem(fleet, self.prepared), self.budget)
                return answer and bounded(answer, self.prepared)
            except BudgetSpent as error:
                raise BudgetSpent(self.budget) from error


def pareto(
    fleet: Fleet, x: str, y: str, catalog: Catalog | None = None, budget: int = BUDGET, most: int = POINTS
) -> Frontier | NoPlan:
    """Return the Pareto frontier of a fleet over two axes of ``AXES``, or why the fleet has no plan at all.

    Every plan has passed the independent check; none has a runner-up. ``budget`` is in deterministic seconds, for all
    points together, and ``most`` limits these; two at least are needed for both ends.

    Raises:
        BudgetSpent: neither a plan nor its impossibility could be shown within the solver's budget.
        CheckFailed: a plan does not keep its promises, which is a defect of the planner.
        NoLength: an axis counts speed, and a role does not say how long its requests are.
        Unlike: an axis counts speed, and a role may have unlike servers.
        UnknownName: no memory profile covers the engine version.
    """
    catalog = catalog or load_catalog()
    with spending(budget):
        fleet = settled(fleet, catalog, budget)
        search = _search(fleet, catalog, x, y, budget)
        listed = _listed(search, most)
        if not listed.found:
            return conflict(fleet, catalog, search.prepared)
        numbers = range(1, len(listed.found) + 1)
        plans = tuple(_planned(search, catalog, (x, y), listed, number).plan for number in numbers)
    for plan in plans:
        require(plan, fleet, catalog)
    return Frontier(x=x, y=y, plans=plans, complete=listed.complete, open_end=listed.open_end)


def point(
    fleet: Fleet,
    catalog: Catalog,
    x: str,
    y: str,
    number: int,
    budget: int = BUDGET,
    most: int = POINTS,
    previous: Plan | None = None,
) -> Plan | NoPlan:
    """Return the plan of one point of the frontier that ``pareto`` finds, with its runner-up; or why there is no plan.

    It follows a previous plan where that costs nothing.

    Raises:
        BudgetSpent: neither a plan nor its impossibility could be shown within the solver's budget.
        NoLength: an axis counts speed, and a role does not say how long its requests are.
        Unlike: an axis counts speed, and a role may have unlike servers.
        NoSuchPoint: the frontier has fewer points.
        UnknownName: no memory profile covers the engine version.
    """
    with spending(budget):
        fleet = settled(fleet, catalog, budget)
        search = _search(fleet, catalog, x, y, budget)
        listed = _listed(search, most)
        if not listed.found:
            return conflict(fleet, catalog, search.prepared)
        if number > len(listed.found):
            raise NoSuchPoint(number, len(listed.found))
        found = _planned(search, catalog, (x, y), listed, number, previous)
        return with_runner_up(search.at(listed.found[number - 1].floor), catalog, found, budget)


def walk(best: Callable[[int | None], Answer | None], steps: Sequence[int] | None = None) -> Iterator[Found]:
    """Yield the points in their order: all of them, or the first from each of some values of the other axis.

    ``best`` returns the best answer with at least so much of the other axis, None when there is none.
    One that is not proven waits until no later one can be better in both axes.

    Raises:
        BudgetSpent: after the points that were found, when it cannot be said whether there is one more.
    """
    waiting: list[Found] = []
    floor: int | None = None
    for number in itertools.count(1):
        watch.task(f"point {number}")
        try:
            answer = best(floor)
        except BudgetSpent:
            yield from waiting
            raise
        if answer is None:
            break
        found = Found(floor, answer)
        while waiting and waiting[-1].leading <= found.leading:
            waiting.pop()
        waiting.append(found)
        if found.proven:
            yield from waiting
            waiting.clear()
        beyond = [found.other + 1] if steps is None else [step for step in steps if step > found.other]
        if not beyond:
            break
        floor = beyond[0]
    yield from waiting


def _search(fleet: Fleet, catalog: Catalog, x: str, y: str, budget: int) -> _Search:
    objective = (AXES[x], AXES[y]) if x in LESS else (AXES[y], AXES[x])
    fleet = replace(fleet, objective=objective)
    lacking = [role.name for role in fleet.roles if role.request_tokens is None and role.task not in POOLING_TASKS]
    if counts_speed(objective) and lacking:
        raise NoLength(lacking[0])
    unlike = [role.name for role in fleet.roles if role.across_pools]
    if counts_speed(objective) and unlike:
        raise Unlike(unlike[0])
    prepared = prepare(fleet, catalog, load_profile(fleet.engine_version), any_objective=True)
    return _Search(fleet, prepared, objective, budget)


def _listed(search: _Search, most: int) -> _Listed:
    """Return all points, or as many as asked for; none when the fleet has no plan."""
    if not all(found.options or found.role.optional for found in search.prepared.roles):
        return _Listed((), complete=True, open_end=False)
    every = _taken(walk(search.best), most + 1)
    if len(every.found) <= most:
        return every
    try:
        low, high = every.found[0].other, search.most()
    except BudgetSpent:
        return _Listed(every.found[:most], complete=False, open_end=True)
    steps = [low + ceil_div((high - low) * step, most - 1) for step in range(1, most)]
    some = _taken(walk(search.best, steps), most)
    return replace(some, complete=False)


def _taken(points: Iterator[Found], most: int) -> _Listed:
    """Take points as long as the budget suffices to find any, and not more than asked for."""
    found: list[Found] = []
    try:
        for one in points:
            found.append(one)
            if len(found) == most:
                break
    except BudgetSpent:
        if not found:
            raise
        return _Listed(tuple(found), complete=False, open_end=True)
    return _Listed(tuple(found), complete=True, open_end=False)


def _planned(
    search: _Search,
    catalog: Catalog,
    axes: tuple[str, str],
    listed: _Listed,
    number: int,
    previous: Plan | None = None,
) -> Solved:
    """Return the plan of a point."""
    found = listed.found[number - 1]
    own = planned(search.at(found.floor), catalog, search.prepared, found.answer, search.budget, previous)
    floor = None if found.floor is None else in_plan(search.fleet, search.objective[1], found.floor)
    point = FrontierPoint(x=axes[0], y=axes[1], number=number, floor=floor)
    return replace(own, plan=replace(own.plan, point=point))
