"""Bounds: what a plan can reach at most with each candidate, so that only few candidates need be decided about.

Memory is counted per pool as a whole, and a byte of it is given a price, as the optimum of the linear relaxation has
it. No plan is then worth more than every role's best candidate less the price of its bytes, plus the price of all bytes
there are; nor is a plan with a certain candidate worth more than that, less what the candidate is short of its role's
best. Any prices give such bounds: those of the relaxation are rounded and everything else is counted in integers, so
that nothing is left out because of a rounding error.

Once a plan is known, what cannot be in a plan as good is left out: of thousands of candidates some tens are left, and
of their sequences a few. Plans that are as good are all still there, so that the stages after the first ones, and the
canonical order, settle on the same one.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace
from ortools.linear_solver import pywraplp

from planner.search.budget import SIZE, purse
from planner.search.chain import Weighing
from planner.search.pieces import Pieces
from planner.search.prices import SCALE, Prices
from planner.search.problem import COST, Candidate, Decided, Problem, Team, still_barred
from planner.search.watch import go_on

_DIGITS = 30
"""Bits of a price that are kept: what is beyond is noise of the linear solver."""

Row = tuple[str, int]
"""A row of the relaxation: what is counted, and the pool, the role or the stage."""


class _Point(NamedTuple):
    """A candidate with settled sequences: what it adds to the weighted sum of the first stages, and takes."""

    sequences: int
    worth: int
    taken: tuple[tuple[Row, int], ...]


class Ends(Struct, frozen=True):
    """What is left, after the prices, of what the fewest and the most sequences of a candidate are worth."""

    least: int
    most: int


class Bounds:
    """Bounds of the weighted sum of the first stages: ``total`` for all plans, ``of`` for plans with a candidate.

    ``weighing`` says how these are weighed. ``share`` of a thousand is what may be taken of all memory. To make them
    raises BudgetSpent where whoever watches wants no more.
    """

    def __init__(self, problem: Problem, weighing: Weighing, share: int = 1000) -> None:
        self.problem = problem
        self.weighing = weighing
        self._share = share
        self._times = {role: turn for turn in problem.turns for role in turn.roles}
        self._teams = {role: team for team in enumerate(problem.teams) for role in team[1].roles}
        self._unit = math.lcm(*(len(turn.roles) for turn in problem.turns))
        self._alone = [problem.alone(role) for role in range(len(problem.roles))]
        points = [list(self._points(role)) for role in range(len(problem.roles))]
        prices = self._priced = self._prices(points)
        self._ends = [[_ends(own, prices) for own in found] for found in points]
        self._best = [
            max([max(ends.least, ends.most) for ends in found] + ([0] if role.optional else []))
            for role, found in zip(problem.roles, self._ends, strict=True)
        ]
        self._scaled = sum(self._best) + self._all(prices)
        purse().spend(self.count / SIZE)  # the linear relaxation takes about as long as a model with as many variables

    @property
    def prices(self) -> Prices:
        """The prices, for candidates that the problem does not have; what only some problems have is not priced."""
        pools = range(len(self.problem.pools))
        return Prices(
            weights=self.weighing.weights,
            capacity=tuple(pool.capacity for pool in self.problem.pools),
            bytes=tuple(self._priced.get(("bytes", pool), 0) * self._unit for pool in pools),
            whole=tuple(self._priced.get(("whole", pool), 0) for pool in pools),
            everything=self._all(self._priced),
        )

    @property
    def total(self) -> int:
        """What no plan exceeds."""
        return self._scaled // SCALE

    def of(self, role: int, candidate: int) -> int:
        """Return what no plan with a candidate exceeds."""
        ends = self._ends[role][candidate]
        return (self._scaled - self._best[role] + max(ends.least, ends.most)) // SCALE

    def lacks(self, role: int, candidate: int) -> int:
        """Return what a plan with a candidate is short of the total at least, scaled: those of all roles add up."""
        ends = self._ends[role][candidate]
        return self._best[role] - max(ends.least, ends.most)

    def slack(self, least: int) -> int:
        """Return what the candidates of a plan that reaches so much may lack together, scaled."""
        return self._scaled - least * SCALE

    @property
    def count(self) -> int:
        """The number of candidates of all roles."""
        return sum(map(len, self._ends))

    def threshold(self, count: int) -> int:
        """Return the most that so many candidates may reach, or what all may reach with all their sequences."""
        if count >= self.count:
            lowest = [min(min(ends.least, ends.most) for ends in found) - best for found, best in self._shown()]
            return (self._scaled + min(lowest, default=0)) // SCALE
        found = sorted(
            (self.of(role, index) for role, ends in enumerate(self._ends) for index in range(len(ends))), reverse=True
        )
        return found[min(count, len(found)) - 1] if found else 0

    def _shown(self) -> Iterator[tuple[list[Ends], int]]:
        return ((found, best) for found, best in zip(self._ends, self._best, strict=True) if found)

    def part(self, least: int) -> Pieces:
        """Return the problem with the candidates, and of these the sequences, of plans that reach so much."""
        roles, origins = [], []
        for role, found in enumerate(self.problem.roles):
            kept = [
                (index, piece)
                for index, candidate in enumerate(found.candidates)
                if (piece := self._trimmed(role, index, candidate, least))
            ]
            roles.append(replace(found, candidates=tuple(piece for _, piece in kept)))
            origins.append(tuple(index for index, _ in kept))
        return Pieces(replace(self.problem, roles=still_barred(self.problem.roles, roles)), tuple(origins))

    def only(self, decided: Sequence[Decided]) -> Pieces:
        """Return the problem with nothing but what was decided left to decide."""
        roles, origins = [], []
        for found, one in zip(self.problem.roles, decided, strict=True):
            kept = one and replace(found.candidates[one[0]], least=one[1], most=one[1])
            roles.append(replace(found, candidates=(kept,) if kept else (), optional=kept is None))
            origins.append((one[0],) if one else ())
        return Pieces(replace(self.problem, roles=still_barred(self.problem.roles, roles)), tuple(origins))

    def _trimmed(self, role: int, index: int, candidate: Candidate, least: int) -> Candidate | None:
        """Return a candidate with those of its sequences that reach so much; None when none does."""
        ends = self._ends[role][index]
        missing = least * SCALE - (self._scaled - self._best[role])
        if max(ends.least, ends.most) < missing:
            return None
        first, last = candidate.least, candidate.most
        if first == last or min(ends.least, ends.most) >= missing:
            return candidate
        span = abs(ends.most - ends.least)
        reached = (max(ends.least, ends.most) - missing) * (last - first) // span
        if ends.most > ends.least:
            return replace(candidate, least=last - reached)
        return replace(candidate, most=first + reached)

    def _worth(self, candidate: Candidate, sequences: int) -> int:
        """Return what a candidate adds to the weighted sum of the first stages."""
        return sum(
            weight * candidate.value(stage, sequences)
            for stage, weight in enumerate(self.weighing.weights)
            if self.problem.stages[stage] != COST
        )

    def _points(self, role: int) -> Iterator[tuple[_Point, ...]]:
        """Yield what each candidate of a role is worth and takes with its fewest sequences and with its most."""
        go_on()
        for candidate in self.problem.roles[role].candidates:
            yield tuple(
                _Point(count, self._worth(candidate, count), tuple(self._takes(role, candidate, count)))
                for count in {candidate.least, candidate.most}
            )

    def _takes(self, role: int, candidate: Candidate, sequences: int) -> Iterator[tuple[Row, int]]:
        """Yield what a candidate takes in each row."""
        problem, pool = self.problem, candidate.pool
        capacity = problem.pools[pool].capacity
        size = candidate.footprint(sequences)
        turn = self._times.get(role)
        if self._alone[role]:
            size = capacity
        if turn:
            awake = min(turn.awake, len(turn.roles))
            each = (size * awake + candidate.asleep * (len(turn.roles) - awake)) * (self._unit // len(turn.roles))
            yield ("bytes", pool), each * candidate.gpus
        else:
            yield ("bytes", pool), size * self._unit * candidate.gpus
            if self._alone[role] or 2 * candidate.footprint(candidate.least) > capacity:
                yield ("whole", pool), candidate.gpus
        for stage, _ in problem.floors:
            yield ("floor", stage), -candidate.value(stage, sequences)
        if candidate.barred:
            yield ("barred", 0), 1
        if problem.host is not None and candidate.host:
            yield ("host", 0), candidate.host
        if role in self._teams:
            yield ("requests", self._teams[role][0]), candidate.ranks * sequences

    def _limits(self) -> dict[Row, tuple[int, int]]:
        """Return the limit of each row without any GPU in use, and what each GPU of its pool that is in use adds."""
        problem = self.problem
        found: dict[Row, tuple[int, int]] = {}
        for number, pool in enumerate(problem.pools):
            found["bytes", number] = 0, pool.capacity * self._share // 1000 * self._unit
            found["whole", number] = 0, 1
        for stage, least in problem.floors:
            found["floor", stage] = -least, 0
        barred = [any(candidate.barred for candidate in role.candidates) for role in problem.roles]
        found["barred", 0] = max(0, sum(barred) - 1), 0
        if problem.host is not None:
            found["host", 0] = problem.host, 0
        for number, team in enumerate(problem.teams):
            found["requests", number] = team.most, 0
        return found

    def _of_a_request(self, team: Team) -> int:
        """Return what one request of a team adds to the weighted sum of the first stages."""
        return sum(weight * each for weight, each in zip(self.weighing.weights, team.worth, strict=False))

    def _cost(self, pool: int) -> int:
        """Return what a GPU in use takes off the weighted sum at least."""
        weights, of = zip(self.problem.stages, self.weighing.weights, strict=False), self.problem.pools[pool]
        return sum(weight for name, weight in weights if name == COST) * of.price // of.paid

    def _all(self, prices: dict[Row, int]) -> int:
        """Return the price of all that there is, less the cost of using it, scaled."""
        total = sum(prices.get(row, 0) * fixed for row, (fixed, _) in self._limits().items())
        for number, pool in enumerate(self.problem.pools):
            each = sum(
                prices.get(row, 0) * more for row, (_, more) in self._limits().items() if more and row[1] == number
            )
            total += max(0, each - self._cost(number) * SCALE) * pool.gpus
        return total

    def _prices(self, points: Sequence[Sequence[Sequence[_Point]]]) -> dict[Row, int]:
        """Return the price of each row, scaled: the dual values of the linear relaxation; none where it has none.

        ``points`` are those of each candidate of each role.
        """
        solver = pywraplp.Solver.CreateSolver("GLOP")
        infinity = solver.infinity()
        limits = self._limits()
        scales = {row: max(1, abs(fixed), each) for row, (fixed, each) in limits.items()}
        rows = {row: solver.Constraint(-infinity, fixed / scales[row]) for row, (fixed, _) in limits.items()}
        goal = solver.Objective()
        goal.SetMaximization()
        largest = max((abs(one.worth) for found in points for own in found for one in own), default=1) or 1
        for number, pool in enumerate(self.problem.pools):
            used = solver.NumVar(0, pool.gpus, "")
            goal.SetCoefficient(used, -self._cost(number) / largest)
            for row, (_, each) in limits.items():
                if each and row[1] == number:
                    rows[row].SetCoefficient(used, -each / scales[row])
        ones = [solver.Constraint(0 if role.optional else 1, 1) for role in self.problem.roles]
        for role, candidates in enumerate(points):
            go_on()
            for _, worth, taken in (one for own in candidates for one in own):
                point = solver.NumVar(0, infinity, "")
                ones[role].SetCoefficient(point, 1)
                goal.SetCoefficient(point, worth / largest)
                for row, amount in taken:
                    rows[row].SetCoefficient(point, amount / scales[row])
        for number, team in enumerate(self.problem.teams):
            surplus, row = solver.NumVar(0, infinity, ""), ("requests", number)
            goal.SetCoefficient(surplus, -self._of_a_request(team) / largest)
            rows[row].SetCoefficient(surplus, -1 / scales[row])
        if solver.Solve() != pywraplp.Solver.OPTIMAL:
            return {}
        found = {row: _rounded(rows[row].dual_value() * largest / scales[row]) for row in limits}
        for number, team in enumerate(self.problem.teams):  # at a higher price a surplus would be worth something
            found["requests", number] = min(found["requests", number], self._of_a_request(team) * SCALE)
        return found


def _ends(points: Sequence[_Point], prices: Mapping[Row, int]) -> Ends:
    """Return what is left, after the prices, of a candidate's worth at both ends."""
    left = {
        one.sequences: one.worth * SCALE - sum(prices[row] * count for row, count in one.taken if row in prices)
        for one in points
    }
    return Ends(left[min(left)], left[max(left)])


def _rounded(price: float) -> int:
    """Return a price, which is not negative, in units of the scale and with the digits that count."""
    exact = int(Fraction(max(0.0, price)) * SCALE)
    noise = max(0, exact.bit_length() - _DIGITS)
    return exact >> noise << noise
