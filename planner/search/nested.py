"""Nested: the best choice where every role has one server, from what blocks of GPUs hold at best.

Blocks nest: what is on one is on all of its GPUs, by servers as wide as it, or inside one of its halves. So what a
block holds at best, for each set of roles and each number of bytes of its fullest GPU, follows from what its halves
hold. Of two ways to serve the same roles on a block one is enough where it takes no more of the fullest GPU and is
worth as much: in any plan it can stand in the other's place. Worth is all that is maximised, the stages, headroom and
the canonical order weighed into one integer, so that the best choice is the one that a chain of solves ends with.

Only such choices are looked at as a plan can have that is as good as the best, by the prices of ``bounds``: each lacks
something of what no plan exceeds, and together they may not lack more than such a plan does.

What fits together is what CP-SAT finds hard to prove, for a row that keeps what is on a GPU within its bytes says
little about that: of seven problems of six roles on four GPUs the proofs took 74 s of CPU, and this takes 1.3. What is
not known here, as roles with several servers, is left to the solver. It also has the last word about what is found
here, because its model knows all there is to know.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from planner.search.bounds import Bounds
from planner.search.budget import BudgetSpent, purse
from planner.search.problem import COST, MINIMAL_CHANGE, Candidate, Decided, Problem
from planner.search.watch import go_on

_FIRST = 60
"""Candidates whose shares in what may be lacking are looked at first: how many changes no answer."""

_MOST = 1_000_000
"""Steps after which the solver is asked instead: about a second, which counts against the budget. Half of them were the
most that any problem took of those that ``benchmarks.solver --shapes`` has on several GPUs."""

_Way = tuple[int, int, int, int]
"""A way to serve some roles on a block: the bytes of its fullest GPU, the worth, what it lacks, and its digits, which
are a number with a digit per role: which of its points the role has, counted from 1."""

_Held = dict[int, list[_Way]]
"""The ways that a block can serve a set of roles, a bit each; of these every one is worth more than those before it,
which take less."""


class _Unsuited(Exception):
    """A problem has candidates that are not known here, or more ways than can be looked at in time."""


class _Point(NamedTuple):
    """A candidate with settled sequences: the bytes of each of its GPUs, what it lacks, and what it is worth.

    ``terms`` are what it adds to all that is maximised, each before the next.
    """

    candidate: Candidate
    decided: tuple[int, int]
    size: int
    lacks: int
    terms: tuple[int, ...]


def nested(limits: Bounds) -> list[Decided] | None:
    """Return the choice of the best plan; None for a problem that is not suited, or that has no plan.

    No plan is better, and none that is as good comes before it in canonical order. Whether it is a plan of the problem,
    which may ask for more than is known here, is not said.
    """
    if not _suits(limits.problem):
        return None
    search, count = _Search(limits), _FIRST
    slack = limits.slack(limits.threshold(count))
    all_slack = len(limits.problem.roles) * limits.slack(limits.threshold(limits.count))
    try:
        while True:
            found = search.best(slack)
            if found is not None:
                needed = limits.slack(limits.weighing.sum(found.terms))
                if needed <= slack:
                    return found.decided
                slack = needed
            elif slack < all_slack:
                count *= 2
                slack = max(2 * slack, limits.slack(limits.threshold(count)))
            else:
                return None
    except (_Unsuited, BudgetSpent):
        return None
    finally:
        purse().spend(1 - max(0, search.steps) / _MOST)


def _suits(problem: Problem) -> bool:
    """Whether all that counts is what each server adds, and all that limits them the bytes of each GPU.

    On one GPU the solver is as quick.
    """
    if sum(pool.gpus for pool in problem.pools) == 1:
        return False
    if COST in problem.stages or MINIMAL_CHANGE in problem.stages:
        return False
    return problem.host is None and not (problem.floors or problem.turns or problem.teams)


class _Found(NamedTuple):
    """A choice, and what all of it adds to each thing that is maximised."""

    terms: tuple[int, ...]
    decided: list[Decided]


class _Search:
    """The search for the best choice of a problem; ``steps`` are those that are left to it."""

    def __init__(self, limits: Bounds) -> None:
        self.limits = limits
        self.problem = limits.problem
        self.steps = _MOST
        self.apart = [0] * len(self.problem.roles)
        for one, other in self.problem.apart:
            self.apart[one] |= 1 << other
            self.apart[other] |= 1 << one

    def best(self, slack: int) -> _Found | None:
        """Return the best of the choices that together lack no more than the slack.

        One at least of the roles that have barred candidates chooses none of these: each in turn is held to that.
        """
        barred = [role for role, found in enumerate(self.problem.roles) if any(c.barred for c in found.candidates)]
        best: _Found | None = None
        for free in barred or [-1]:
            points = [list(self._points(role, slack, role == free)) for role in range(len(self.problem.roles))]
            found = _Blocks(self, slack, points).best()
            if found and (best is None or found.terms > best.terms):
                best = found
                slack = min(slack, max(0, self.limits.slack(self.limits.weighing.sum(found.terms))))
        return best

    def spend(self, steps: int) -> None:
        """Count steps.

        Raises:
            _Unsuited: there are none left.
        """
        go_on()
        self.steps -= steps
        if self.steps < 0:
            raise _Unsuited

    def _points(self, role: int, slack: int, free: bool) -> Iterator[_Point]:
        """Yield what a role may have that lacks no more than the slack, in canonical order."""
        problem = self.problem
        alone = problem.alone(role)
        roles = range(len(problem.roles))
        for index, candidate in enumerate(problem.roles[role].candidates):
            if (free and candidate.barred) or self.limits.lacks(role, index) > slack:
                continue
            if candidate.blocks * candidate.stages > 1 or candidate.least < candidate.most:
                raise _Unsuited
            count = candidate.least
            size = candidate.footprint(count)
            values = [candidate.value(stage, count) for stage in range(len(problem.stages))]
            taken = candidate.width * (problem.pools[candidate.pool].capacity if alone else size)
            order = [end for other in roles for end in ((-index, count) if other == role else (0, 0))]
            yield _Point(candidate, (index, count), size, self.limits.lacks(role, index), (*values, -taken, *order))


class _Blocks:
    """What blocks hold of the points of each role that together lack no more than the slack."""

    def __init__(self, search: _Search, slack: int, points: Sequence[Sequence[_Point]]) -> None:
        self._search = search
        self._problem = search.problem
        self._slack = slack
        self._points = points
        self._weights = self._weighed()
        self._base = 1 + max(map(len, points), default=0)

    def best(self) -> _Found | None:
        """Return the best choice that has places; None when there is none."""
        totals: dict[int, _Way] = {0: (0, 0, 0, 0)}
        for pool, shape in enumerate(self._problem.pools):
            held = self._by_width(pool)
            for width in [*_parts(shape.width)] * len(shape.nodes):
                totals = self._with_block(totals, held[width])
        needed = sum(1 << role for role, found in enumerate(self._problem.roles) if not found.optional)
        ways = [way for roles, way in totals.items() if roles and roles & needed == needed]
        return self._read(max(ways, key=lambda way: way[1])) if ways else None

    def _weighed(self) -> list[int]:
        """Return a weight for each term that all later terms of all roles together cannot make up."""
        weights, weight = [], 1
        count = max((len(point.terms) for found in self._points for point in found), default=0)
        for term in reversed(range(count)):
            weights.append(weight)
            ends = [[0, *(point.terms[term] for point in found)] for found in self._points]
            weight *= 1 + sum(max(values) - min(values) for values in ends)
        return weights[::-1]

    def _servers(self, role: int, pool: int, width: int) -> list[_Way]:
        """Return the ways to have a role's server on all of a block."""
        digit = self._base**role
        return _rising(
            (point.size, sum(map(int.__mul__, self._weights, point.terms)), point.lacks, number * digit)
            for number, point in enumerate(self._points[role], 1)
            if (point.candidate.pool, point.candidate.width) == (pool, width)
        )

    def _by_width(self, pool: int) -> dict[int, _Held]:
        """Return what blocks of each width hold."""
        found: dict[int, _Held] = {}
        width, held = 1, {0: [(0, 0, 0, 0)]}
        while width <= self._problem.pools[pool].width:
            if width > 1:
                held = self._halves(held)
            for role in range(len(self._problem.roles)):
                held = self._joined(held, role, self._servers(role, pool, width), self._problem.pools[pool].capacity)
            found[width] = held
            width *= 2
        return found

    def _joined(self, held: _Held, role: int, servers: list[_Way], capacity: int) -> _Held:
        """Return what a block holds when a role may have a server on all of it."""
        found = dict(held)
        for roles, ways in held.items():
            if not servers or roles >> role & 1 or roles & self._search.apart[role]:
                continue
            self._search.spend(len(ways) * len(servers))
            more = [*self._together(ways, servers, capacity), *held.get(roles | 1 << role, ())]
            if more:
                found[roles | 1 << role] = _rising(more)
        return found

    def _together(self, ways: list[_Way], servers: list[_Way], capacity: int) -> Iterator[_Way]:
        """Yield ways with a server more that takes as much of every GPU of a block."""
        for size, worth, lacks, digits in ways:
            room, slack = capacity - size, self._slack - lacks
            for server in servers:
                if server[0] > room:
                    break
                if server[2] <= slack:
                    yield size + server[0], worth + server[1], lacks + server[2], digits + server[3]

    def _halves(self, half: _Held) -> _Held:
        """Return what two blocks side by side hold, each of which holds ``half``."""
        found: dict[int, list[_Way]] = {}
        self._search.spend(len(half) ** 2)
        for left, ways in half.items():
            for right, others in half.items():
                if left <= right and not left & right:
                    self._search.spend(len(ways) + len(others))
                    found.setdefault(left | right, []).extend(self._beside(ways, others))
        return {roles: _rising(ways) for roles, ways in found.items() if ways}

    def _beside(self, ways: list[_Way], others: list[_Way]) -> Iterator[_Way]:
        """Yield the best pairs for each number of bytes of the fuller of two blocks."""
        first = second = 0
        while True:
            size = max(ways[first][0], others[second][0])
            while first + 1 < len(ways) and ways[first + 1][0] <= size:
                first += 1
            while second + 1 < len(others) and others[second + 1][0] <= size:
                second += 1
            one, other = ways[first], others[second]
            if one[2] + other[2] <= self._slack:
                yield size, one[1] + other[1], one[2] + other[2], one[3] + other[3]
            after = [
                found[place + 1][0] for found, place in ((ways, first), (others, second)) if place + 1 < len(found)
            ]
            if not after:
                return
            first += first + 1 < len(ways) and ways[first + 1][0] == min(after)
            second += second + 1 < len(others) and others[second + 1][0] == min(after)

    def _with_block(self, totals: dict[int, _Way], held: _Held) -> dict[int, _Way]:
        """Return the best way for each set of roles when a block is added to others."""
        self._search.spend(len(totals) * len(held))
        found: dict[int, _Way] = {}
        for roles, (_, worth, lacks, digits) in totals.items():
            for more, ways in held.items():
                _, added, lacking, points = ways[-1]
                if roles & more or lacks + lacking > self._slack:
                    continue
                if roles | more not in found or worth + added > found[roles | more][1]:
                    found[roles | more] = 0, worth + added, lacks + lacking, digits + points
        return found

    def _read(self, way: _Way) -> _Found:
        """Return the choice that a way has in its digits."""
        digits, chosen = way[3], []
        for points in self._points:
            digits, number = divmod(digits, self._base)
            chosen.append(points[number - 1] if number else None)
        there = [point.terms for point in chosen if point]
        return _Found(tuple(map(sum, zip(*there, strict=True))), [point and point.decided for point in chosen])


def _rising(ways: Iterable[_Way]) -> list[_Way]:
    """Return the ways that are worth more than all that take no more, beginning with what takes the least."""
    found: list[_Way] = []
    for way in sorted(ways, key=lambda way: (way[0], -way[1])):
        if not found or way[1] > found[-1][1]:
            found.append(way)
    return found


def _parts(width: int) -> Iterator[int]:
    """Yield the widths of the largest blocks that a node has side by side."""
    while width:
        part = 1 << (width.bit_length() - 1)
        yield part
        width -= part
