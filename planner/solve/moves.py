"""Moves: from one plan to another in an order of starts and stops that never has a role below its minimum.

A server of the new plan starts as soon as it has room, for it will run beside all others of that plan in the end. One
of the old plan is stopped when all of its role have started, or when a start needs its room and its role can spare it.
Which one goes first is searched for, a bounded number of ways. Where no way was found without a gap, the one follows
that leaves the fewest requests and then the fewest servers short, and the gap is told.
"""

import itertools
from collections.abc import Iterator, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from planner.fleet import Fleet
from planner.plan import Plan, ServerPlan
from planner.plan.moves import Gap, Moves, Step, changes, staying
from planner.plan.starts import longest_start_seconds
from planner.solve.machines import Machines, capacities

_MOST_LOOKS = 400
"""Stops that are tried before a way without a gap is given up."""

_FEW_ROLES = 4
"""Roles of which every order is tried; of more, each is first once."""

_MOST_ORDERED = 100
"""Starts beyond which other orders than the first are not tried."""

Short = tuple[int, int]
"""Requests and servers that roles are short of their minimum."""


class Minimum(Struct, frozen=True):
    """The servers and the requests at once that a role must have."""

    servers: int
    requests: int


def minima(fleet: Fleet, new: Plan) -> dict[str, Minimum]:
    """Return what each role that is served must have: its ``replicas``, or one server, and its ``concurrency.min``."""
    served = {server.role for server in new.servers}
    return {role.name: Minimum(role.replicas or 1, role.concurrency_min) for role in fleet.roles if role.name in served}


def moves_between(fleet: Fleet, old: Plan, new: Plan) -> Moves:
    """Return how the machines of a fleet get from an old plan to a new one.

    Servers of the old plan on GPUs that the fleet has no longer do not run any more.
    """
    there = set(capacities(fleet))
    gone = frozenset(server.name for server in old.servers if not there.issuperset(server.gpus))
    stay = staying(old, new)
    begun = [server for server in old.servers if server.name not in gone]
    todo = [new.server(name) for name in new.start_order if name not in stay]
    best: tuple[tuple[int, ...], tuple[Step, ...], tuple[Gap, ...]] | None = None
    for order in _orders([server.role for server in todo]):
        left = [server for server in begun if server.name not in stay]
        way = _Way(minima(fleet, new), Machines(fleet, begun), left, list(todo), order)
        steps = tuple(_told(way.run(begun), new))
        found = tuple(gaps(fleet, old, new, gone, steps))
        short = sum(gap.of_requests - gap.requests for gap in found), sum(gap.of_servers - gap.servers for gap in found)
        best = min(filter(None, (best, (short, steps, found))), key=lambda one: one[0])
        if not best[2]:
            break
    assert best
    return Moves(stay=len(stay), were=len(begun), moves=tuple(changes(old, new, gone)), steps=best[1], gaps=best[2])


def _orders(waiting: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield orders in which roles get what room there is: as is best at each step, and then others that are few."""
    yield ()
    roles = tuple(dict.fromkeys(waiting))
    if len(waiting) > _MOST_ORDERED:
        return
    if len(roles) <= _FEW_ROLES:
        yield from itertools.permutations(roles)
    else:
        yield from ((role, *(other for other in roles if other != role)) for role in roles)


class _Way(Struct):
    """A state on the way: what runs, what of the old plan is left, what of the new one has not started."""

    minima: dict[str, Minimum]
    machines: Machines
    left: list[ServerPlan]
    todo: list[ServerPlan]
    order: tuple[str, ...]
    turn: int = 1
    running: dict[str, tuple[int, int]] = field(default_factory=dict)
    best: dict[str, tuple[int, int]] = field(default_factory=dict)
    steps: list[tuple[str, ServerPlan]] = field(default_factory=list)
    looks: list[int] = field(default_factory=lambda: [_MOST_LOOKS])

    def run(self, begun: Sequence[ServerPlan]) -> list[tuple[str, ServerPlan]]:
        """Return all steps from what runs when they begin."""
        for server in begun:
            self._count(server, 1)
        self._note()
        while True:
            self._settle()
            if not self.todo:
                for server in list(self.left):
                    self._stop(server)
                return self.steps
            if way := self._without_gap():
                return way.steps
            if self.turn < len(self.order):
                self.turn += 1  # those that come first wait for room that only a gap, or others, could give them
                continue
            _, _, stops, start = min(self._choices(), key=lambda choice: choice[:2])
            self._take(stops, start)

    def _without_gap(self) -> "_Way | None":
        """Return this way to its end without a gap, if one is found."""
        tried = {frozenset(server.name for server in self.left)}
        return self._go_on(tried)

    def _go_on(self, tried: set[frozenset[str]]) -> "_Way | None":
        for short, _, stops, start in sorted(self._choices(), key=lambda choice: choice[:2]):
            if any(short) or self.looks[0] <= 0:
                return None
            self.looks[0] -= 1
            other = self._copy()
            other._take(stops, start)
            other._settle()
            if not other.todo:
                for server in list(other.left):
                    other._stop(server)
                return other
            key = frozenset(server.name for server in other.left)
            if key not in tried:
                tried.add(key)
                if found := other._go_on(tried):
                    return found
        return None

    def _copy(self) -> "_Way":
        return replace(
            self, machines=self.machines.copy(), running=dict(self.running), left=list(self.left),
            todo=list(self.todo), best=dict(self.best), steps=list(self.steps),
        )  # fmt: skip

    def _settle(self) -> None:
        """Start all that has room, and stop what is left of roles that have started all, as long as there is any.

        Before that, one that runs twice can spare a server, for whose place another may wait.
        """
        changed = True
        while changed:
            changed = False
            for server in sorted(self._ready(), key=self._waits):
                if self.machines.fits(server):
                    self._start(server)
                    changed = True
            waiting = {server.role for server in self.todo}
            for server in list(self.left):
                if server.role not in waiting and not any(self._shortage([server])):
                    self._stop(server)
                    changed = True

    def _ready(self) -> list[ServerPlan]:
        """Return what may start now: in an order of roles, only those that come first until they have all started."""
        if not self.order:
            return self.todo
        while True:
            found = [server for server in self.todo if server.role in self.order[: self.turn]]
            if found or self.turn >= len(self.order):
                return found
            self.turn += 1

    def _waits(self, server: ServerPlan) -> tuple[int, ...]:
        """Return what comes first: as ordered, or a role without any server, or with too few, or with some to stop."""
        if self.order:
            return (self.order.index(server.role),)
        replacing = any(other.role == server.role for other in self.left)
        return self._has(server.role)[0] > 0, not any(self._short(server.role)), not replacing

    def _choices(self) -> Iterator[tuple[Short, tuple[int, int], list[ServerPlan], ServerPlan]]:
        """Yield the starts that wait for room, what must be stopped for each, and what roles would be short of then."""
        for place, server in enumerate(self._ready()):
            stops = self._in_the_way(server)
            yield self._shortage(stops), (len(stops), place), stops, server

    def _in_the_way(self, server: ServerPlan) -> list[ServerPlan]:
        """Return old servers without which a server has room: as few as are found, of roles that can spare them."""
        old = {id(one) for one in self.left}
        stops = [one for one in self.machines.against(server) if id(one) in old]
        beside = [one for one in self.machines.beside(server) if id(one) in old and one not in stops]
        while not self.machines.fits(server, stops):
            nearest = min(beside, key=lambda one: (self._shortage([*stops, one]), -one.ledger.total_bytes, one.name))
            beside.remove(nearest)
            stops.append(nearest)
        for one in list(stops):
            fewer = [other for other in stops if other is not one]
            if self.machines.fits(server, fewer):
                stops = fewer
        return stops

    def _take(self, stops: Sequence[ServerPlan], start: ServerPlan) -> None:
        for server in stops:
            self._stop(server)
        self._start(start)

    def _start(self, server: ServerPlan) -> None:
        self._count(server, 1)
        self.machines.add(server)
        self.todo.remove(server)
        self.steps.append(("start", server))
        self._note()

    def _stop(self, server: ServerPlan) -> None:
        self._count(server, -1)
        self.machines.remove(server)
        self.left.remove(server)
        self.steps.append(("stop", server))

    def _has(self, role: str, without: Sequence[ServerPlan] = ()) -> tuple[int, int]:
        """Return the servers and requests of a role that run."""
        servers, requests = self.running.get(role, (0, 0))
        gone = [server.requests for server in without if server.role == role]
        return servers - len(gone), requests - sum(gone)

    def _count(self, server: ServerPlan, times: int) -> None:
        servers, requests = self.running.get(server.role, (0, 0))
        self.running[server.role] = servers + times, requests + times * server.requests

    def _note(self) -> None:
        """A role must not lose again what of its minimum it has reached."""
        for role in self.minima:
            now, before = self._has(role), self.best.get(role, (0, 0))
            self.best[role] = max(now[0], before[0]), max(now[1], before[1])

    def _short(self, role: str, without: Sequence[ServerPlan] = (), *, reached: bool = False) -> Short:
        """Return what a role is short of its minimum, or of as much of it as it has ``reached``."""
        if role not in self.minima:
            return 0, 0
        least, (servers, requests) = self.minima[role], self._has(role, without)
        most = self.best[role] if reached else (least.servers, least.requests)
        return (
            max(0, min(least.requests, most[1]) - requests),
            max(0, min(least.servers, most[0]) - servers),
        )

    def _shortage(self, stops: Sequence[ServerPlan]) -> Short:
        """Return what roles are short of what they have reached of their minimum, once these are stopped."""
        found = [self._short(role, stops, reached=True) for role in {server.role for server in stops}]
        return sum(requests for requests, _ in found), sum(servers for _, servers in found)


def _told(steps: Sequence[tuple[str, ServerPlan]], new: Plan) -> Iterator[Step]:
    for action, server in steps:
        yield Step(
            action="start" if action == "start" else "stop",
            server=server.name,
            role=server.role,
            groups=server.groups,
            seconds=longest_start_seconds(server, new.engine_version) if action == "start" else 0,
        )


def gaps(fleet: Fleet, old: Plan, new: Plan, gone: frozenset[str], steps: Sequence[Step]) -> Iterator[Gap]:
    """Yield where a role has less of its minimum than it had before, in order of the steps."""
    begun = [server for server in old.servers if server.name not in gone]
    found: list[Gap] = []
    for role, least in minima(fleet, new).items():
        servers = sum(1 for server in begun if server.role == role)
        requests = sum(server.requests for server in begun if server.role == role)
        found += _gaps_of(role, least, (servers, requests), (old, new), steps)
    yield from sorted(found, key=lambda gap: (gap.first, gap.role))


def _gaps_of(
    role: str, least: Minimum, has: tuple[int, int], plans: tuple[Plan, Plan], steps: Sequence[Step]
) -> Iterator[Gap]:
    (servers, requests), open_gap = has, None
    best = has
    for number, step in enumerate(steps, 1):
        if step.role == role:
            sign = 1 if step.action == "start" else -1
            servers += sign
            requests += sign * plans[step.action == "start"].server(step.server).requests
        if open_gap:
            open_gap = replace(open_gap, last=number, seconds=open_gap.seconds + step.seconds)
        needed = min(least.servers, best[0]), min(least.requests, best[1])
        if servers < needed[0] or requests < needed[1]:
            open_gap = open_gap or Gap(
                role=role, first=number, last=number, servers=servers, of_servers=needed[0], requests=requests,
                of_requests=needed[1], seconds=0,
            )  # fmt: skip
            open_gap = replace(
                open_gap, servers=min(open_gap.servers, servers), requests=min(open_gap.requests, requests)
            )
        elif open_gap:
            yield open_gap
            open_gap = None
        best = max(best[0], servers), max(best[1], requests)
    if open_gap:
        yield open_gap
