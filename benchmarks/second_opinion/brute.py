"""Brute force: every way to serve every role, on every set of GPUs, and the best of all combinations.

Written from docs/objective.md and docs/fleet.md alone. It asks the catalog, the fleet reader, the memory model and the
model of speed, and nothing of the rooms that prepare options or search: what those leave out, or get wrong, shows as a
difference.
"""

import itertools
import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from benchmarks.second_opinion.board import Board, Place, Shape, apart_only
from benchmarks.second_opinion.ways import COST, HEADROOM, KEPT, Way, Ways, gpus_of, unbeaten
from planner.catalog import Catalog
from planner.fleet import Fleet, Role
from planner.plan import Plan

Allowed = Callable[[str, Way], bool]
"""Whether the role of a name may be served in a way."""


class TooMany(Exception):
    """The fleet has more combinations than the budget allows to try."""


def stages(objective: Sequence[str], *, previous: bool) -> list[str]:
    """Return what is maximised, one after another (docs/objective.md)."""
    asked = [name for name in objective if name != KEPT or previous]
    if not set(asked) & {"balanced", "accuracy", "concurrency"}:
        asked.append("balanced")
    elif "balanced" not in asked:
        asked += [name for name in ("accuracy", "concurrency") if name not in asked]
    return [*asked, "context", "batched tokens", "accuracy below a point", HEADROOM]


class Brute:
    """One fleet, and the plan that was there before, if any."""

    def __init__(self, fleet: Fleet, catalog: Catalog, previous: Plan | None, budget: int) -> None:
        """Number the GPUs and list every way to serve every role."""
        self.fleet, self.budget = fleet, budget
        kept = previous if KEPT in fleet.objective else None
        self.names = stages(fleet.objective, previous=kept is not None)
        self.cost_at = self.names.index(COST) if COST in self.names else None
        self.board = Board(fleet)
        ways = Ways(fleet, catalog, self.board, self.names, kept)
        self.roles = {role.name: number for number, role in enumerate(fleet.roles)}
        self.turning = {name for group in fleet.time_share for name in group.roles}
        self.all_ways = [list(ways.of(role)) for role in fleet.roles]
        self.none = [ways.left_out(role) for role in fleet.roles]
        self.capacities = [device.capacity for device in self.board.devices]
        self.share = [[one.shares_with(other) for other in fleet.roles] for one in fleet.roles]
        self._loads: dict[tuple[int, tuple[Place, ...], tuple[tuple[Shape, int], ...]], list[dict[int, int]]] = {}

    def best(self, only: Allowed | None = None, without: Allowed | None = None) -> dict[str, int] | None:
        """Return the value of every stage of the best plan, None when there is no plan.

        There are no other ways than those that ``only`` allows; of these, those that ``without`` holds for are not
        chosen, nor is a role left out for which it holds then.

        Raises:
            TooMany: it could not be found within the budget.
        """
        roles = self.fleet.roles
        self.ways = [
            unbeaten([way for way in ways if (not only or only(role.name, way))], role)
            for role, ways in zip(roles, self.all_ways, strict=True)
        ]
        alone = [self._alone(number, role) for number, role in enumerate(roles)]
        for number, role in enumerate(roles):
            ways = [way for way in self.all_ways[number] if not only or only(role.name, way)]
            if without:
                ways = [way for way in ways if not without(role.name, way)]
            ways = unbeaten(ways, role)
            if alone[number]:
                ways = [self._whole(way) for way in ways]
            elif role.name in self.turning:
                ways = [replace(way, worth=(*way.worth[:-1], 0)) for way in ways]
            if role.optional and not (without and without(role.name, self.none[number])):
                ways.append(self.none[number])
            self.ways[number] = ways
        if not all(self.ways):
            return None
        self.alone = {number for number, own in enumerate(alone) if own}
        self._prepare(list(range(len(roles))))
        self._tried = 0
        self._best: tuple[int, ...] | None = None
        total = sum(device.capacity for device in self.board.devices)
        start = tuple(total if name == HEADROOM else 0 for name in self.names)
        self._place(0, start, [{} for _ in self.board.devices])
        return dict(zip(self.names, self._best, strict=True)) if self._best is not None else None

    def _alone(self, number: int, role: Role) -> bool:
        """Whether nothing can be beside a server of a role, so that what it leaves of its GPUs is not free."""
        others = [one for other, one in enumerate(self.fleet.roles) if other != number and self.ways[other]]
        if not others or any(role.shares_with(other) for other in others):
            return False
        parts = [part for way in self.ways[number] for part in way.parts]
        two_fit = any(2 * size <= self.fleet.pools[shape[0]].capacity_bytes for shape, size in parts)
        return role.replicas == 1 or apart_only(role) or not two_fit

    def _whole(self, way: Way) -> Way:
        taken = sum(self.fleet.pools[shape[0]].capacity_bytes * gpus_of(shape) for shape, _ in way.parts)
        return replace(way, worth=(*way.worth[:-1], -taken))

    def _prepare(self, roles: list[int]) -> None:
        """Sort the roles' ways by worth, and bound what is still to come by the best of each stage alone."""
        for role in roles:
            self.ways[role].sort(key=lambda way: way.worth, reverse=True)
        # Few ways first: what is hard to place fails early.
        self.order = sorted(roles, key=lambda role: len(self.ways[role]))
        self.to_come = [(0,) * len(self.names)]
        for role in reversed(self.order):
            most = tuple(max(column) for column in zip(*(way.worth for way in self.ways[role]), strict=True))
            self.to_come.insert(0, _plus(self.to_come[0], most))
        least = [min(way.taken for way in self.ways[role]) for role in self.order]
        self.needed = [sum(least[depth:]) for depth in range(len(least) + 1)]

    def _place(self, depth: int, worth: tuple[int, ...], on: list[dict[int, int]]) -> None:
        """Place the roles from one on; ``on`` has the bytes that each role takes of each GPU."""
        cost = self._cost(on)
        if depth == len(self.order):
            value = self._with(worth, cost, self._headroom(on))
            if any(on) and (self._best is None or value > self._best):
                self._best = value
            return
        taken = sum(sum(there.values()) for there in on)
        if not self.turning and sum(device.capacity for device in self.board.devices) - taken < self.needed[depth]:
            return
        role = self.order[depth]
        most = _plus(worth, self.to_come[depth + 1])
        for way in self.ways[role]:
            # Lexicographic order is kept under addition, so no later way of this role can do better either.
            bound = self._with(_plus(most, way.worth), cost)
            if self._best is not None and bound <= self._best:
                return
            for more in self._sets(role, way):
                self._tried += 1
                if self._tried > self.budget:
                    raise TooMany
                if self._fits(role, more, on):
                    then = [{**there, role: more[gpu]} if gpu in more else there for gpu, there in enumerate(on)]
                    self._place(depth + 1, _plus(worth, way.worth), then)

    def _fits(self, role: int, more: Mapping[int, int], on: list[dict[int, int]]) -> bool:
        share = self.share[role]
        for gpu, size in more.items():
            there = on[gpu]
            taken = self._awake({**there, role: size}) if self.turning else size + sum(there.values())
            if taken > self.capacities[gpu] or not all(share[one] for one in there):
                return False
        return True

    def _awake(self, there: Mapping[int, int]) -> int:
        """Return what the largest set of roles on a GPU takes that may be awake together; the others have stopped."""
        always = sum(size for role, size in there.items() if self.fleet.roles[role].name not in self.turning)
        for group in self.fleet.time_share:
            sizes = [size for role, size in there.items() if self.fleet.roles[role].name in group.roles]
            always += sum(sorted(sizes, reverse=True)[: group.awake])
        return always

    def _headroom(self, on: list[dict[int, int]]) -> int | None:
        """Return what is left free where roles take turns; otherwise it adds up."""
        if not self.turning:
            return None
        return sum(
            0 if self.alone & there.keys() else device.capacity - self._awake(there)
            for device, there in zip(self.board.devices, on, strict=True)
        )

    def _cost(self, on: list[dict[int, int]]) -> int:
        bills = {device.bill: device.price for device, roles in zip(self.board.devices, on, strict=True) if roles}
        return -sum(bills.values())

    def _with(self, worth: tuple[int, ...], cost: int, headroom: int | None = None) -> tuple[int, ...]:
        """Return a worth with what does not add up over the roles."""
        own = list(worth)
        if self.cost_at is not None:
            own[self.cost_at] = cost
        if headroom is not None:
            own[-1] = headroom
        return tuple(own)

    def _sets(self, role: int, way: Way) -> list[dict[int, int]]:
        """Return what a way takes of each GPU, for every set of GPUs that its servers may be on."""
        key = role, way.fixed, way.parts
        if key not in self._loads:
            of_parts = [self._placements(role, way, shape) for shape, _ in way.parts]
            self._loads[key] = [_load(way, places) for places in itertools.product(*of_parts)]
        return self._loads[key]

    def _placements(self, role: int, way: Way, shape: Shape) -> list[tuple[Place, ...]]:
        fixed = bool(way.fixed) or not way.size
        return [way.fixed] if fixed else self.board.placements(self.fleet.roles[role], shape)


def _load(way: Way, places: Sequence[tuple[Place, ...]]) -> dict[int, int]:
    """Return the bytes of each GPU that the servers of a way take where those of each of its parts are."""
    load: Counter[int] = Counter()
    for (_, size), servers in zip(way.parts, places, strict=True):
        for gpu in itertools.chain(*servers):
            load[gpu] += size
    return dict(load)


def _plus(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(operator.add, one, other))
