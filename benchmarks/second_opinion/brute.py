"""Brute force: every way to serve every role, on every set of GPUs, and the best of all combinations.

Written from docs/objective.md and docs/fleet.md alone. It asks the catalog, the fleet reader and the memory model, and
nothing of the rooms that prepare options or search: what those leave out, or get wrong, shows as a difference.
"""

import dataclasses
import functools
import itertools
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from planner.architecture import Architecture
from planner.catalog import Catalog
from planner.catalog.stored import stored
from planner.engine.flags import default_flags
from planner.engine.profile import EngineProfile, load_profile
from planner.facts.accuracy import Accuracy
from planner.facts.gpu import GPU
from planner.facts.quantization import Quantization
from planner.facts.variant import Model, Variant
from planner.fleet import Fleet, Role
from planner.memory.demand import Demand, demand
from planner.memory.refusals import refusal
from planner.memory.terms import Server
from planner.plan import Plan, ServerPlan

MILLION, THOUSAND = 10**6, 10**3
KEPT, COST, HEADROOM = "minimal-change", "cost", "headroom"
Place = tuple[int, ...]
"""The GPUs of one server, by number."""
Shape = tuple[int, int, int, int]
"""A pool, the GPUs of a stage, the stages of a server, and how many servers there are."""
Made = tuple[str, Architecture, Quantization, GPU]
"""The repository of a checkpoint, what it is made of, and the GPU it is to be on."""


class TooMany(Exception):
    """The fleet has more combinations than the budget allows to try."""


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU: its pool and node, and what servers may take of it.

    ``price`` is paid once for all devices in use with the same ``bill``: a GPU, or a node that is rented whole.
    """

    pool: int
    node: str
    group: int
    free: int
    price: int
    bill: tuple[int, str, int]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to serve a role: equal servers of one size, and what they are worth in each stage but cost.

    ``places`` are the sets of GPUs that the servers may be on, each a tuple of places. ``more`` are the shapes and
    sizes of further servers, in other pools, of a role across pools.
    """

    shape: Shape
    size: int
    worth: tuple[int, ...]
    fixed: tuple[Place, ...] = ()
    more: tuple[tuple[Shape, int], ...] = ()

    @property
    def parts(self) -> tuple[tuple[Shape, int], ...]:
        """The shape and size of the servers of each pool."""
        return ((self.shape, self.size), *self.more)

    @property
    def taken(self) -> int:
        """The bytes of all servers on all their GPUs."""
        return sum(size * gpus_of(shape) for shape, size in self.parts)


def gpus_of(shape: Shape) -> int:
    """Return the GPUs of all servers of a shape, each counted once per server."""
    _, width, parts, replicas = shape
    return width * parts * replicas


@dataclass(frozen=True, slots=True)
class Part:
    """The servers of a role in one pool: what they take of each GPU, and what decides what they are worth."""

    shape: Shape
    size: int
    figure: int
    best: int
    requests: int
    context: int
    batch: int
    repository: str


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
        self.fleet, self.catalog, self.budget = fleet, catalog, budget
        self.profile = load_profile(fleet.engine_version)
        self.previous = previous if KEPT in fleet.objective else None
        self.names = stages(fleet.objective, previous=self.previous is not None)
        prices = [(pool.microdollars_per_node_hour, pool.microdollars_per_gpu_hour) for pool in fleet.pools]
        whole = [node is not None for node, _ in prices]
        known = all(price != (None, None) for price in prices)
        self.devices = [
            Device(
                number,
                node,
                index // max(1, pool.gpus_per_node),
                pool.capacity_bytes,
                (prices[number][0] or prices[number][1] or 0) if known else 1,
                (number, node, -1 if known and whole[number] else index),
            )
            for number, pool in enumerate(fleet.pools)
            for node in pool.node_names
            for index in range(pool.gpus_per_node)
        ]
        self.ways = [list(self._ways(role)) for role in fleet.roles]
        for number, role in enumerate(fleet.roles):
            if self._alone(number, role):
                self.ways[number] = [self._whole(way) for way in self.ways[number]]

    def best(self) -> dict[str, int] | None:
        """Return the value of every stage of the best plan, None when there is no plan.

        Raises:
            TooMany: it could not be found within the budget.
        """
        roles = list(range(len(self.fleet.roles)))
        if not all(self.ways[role] or self.fleet.roles[role].optional for role in roles):
            return None
        self._prepare(roles)
        self._tried = 0
        self._best: tuple[int, ...] | None = None
        free = [device.free for device in self.devices]
        total = sum(free)
        start = tuple(total if name == HEADROOM else 0 for name in self.names)
        self._place(0, start, free, [set() for _ in free])
        return dict(zip(self.names, self._best, strict=True)) if self._best is not None else None

    def _alone(self, number: int, role: Role) -> bool:
        """Whether nothing can be beside a server of a role, so that what it leaves of its GPUs is not free."""
        others = [one for other, one in enumerate(self.fleet.roles) if other != number and self.ways[other]]
        if not others or any(role.shares_with(other) for other in others):
            return False
        parts = [part for way in self.ways[number] for part in way.parts]
        two_fit = any(2 * size <= self.fleet.pools[shape[0]].capacity_bytes for shape, size in parts)
        return role.replicas in (None, 1) or role.spread is not None or not two_fit

    def _whole(self, way: Way) -> Way:
        taken = sum(self.fleet.pools[shape[0]].capacity_bytes * gpus_of(shape) for shape, _ in way.parts)
        return dataclasses.replace(way, worth=(*way.worth[:-1], -taken))

    def _prepare(self, roles: list[int]) -> None:
        """Sort the roles' ways by worth, and bound what is still to come by the best of each stage alone."""
        for role in roles:
            if self.fleet.roles[role].optional:
                self.ways[role].append(Way((-1, 0, 0, 0), 0, (0,) * len(self.names)))
            self.ways[role].sort(key=lambda way: way.worth, reverse=True)
        # Few ways first: what is hard to place fails early.
        self.order = sorted(roles, key=lambda role: len(self.ways[role]))
        self.to_come = [(0,) * len(self.names)]
        for role in reversed(self.order):
            most = tuple(max(column) for column in zip(*(way.worth for way in self.ways[role]), strict=True))
            self.to_come.insert(0, _plus(self.to_come[0], most))
        least = [min((way.taken for way in self.ways[role]), default=0) for role in self.order]
        self.needed = [sum(least[depth:]) for depth in range(len(least) + 1)]

    def _place(self, depth: int, worth: tuple[int, ...], free: list[int], on: list[set[int]]) -> None:
        cost = self._cost(on)
        if depth == len(self.order):
            value = self._with_cost(worth, cost)
            if any(on) and (self._best is None or value > self._best):
                self._best = value
            return
        if sum(free) < self.needed[depth]:
            return
        role = self.order[depth]
        for way in self.ways[role]:
            # Lexicographic order is kept under addition, so no later way of this role can do better either.
            bound = self._with_cost(_plus(_plus(worth, way.worth), self.to_come[depth + 1]), cost)
            if self._best is not None and bound <= self._best:
                return
            for places in self._sets(role, way):
                self._tried += 1
                if self._tried > self.budget:
                    raise TooMany
                taken: Counter[int] = Counter()
                for (_, size), servers in zip(way.parts, places, strict=True):
                    taken.update({gpu: size * count for gpu, count in Counter(itertools.chain(*servers)).items()})
                if self._fits(role, taken, free, on):
                    then = [left - taken[gpu] for gpu, left in enumerate(free)]
                    there = [one | {role} if gpu in taken else one for gpu, one in enumerate(on)]
                    self._place(depth + 1, _plus(worth, way.worth), then, there)

    def _fits(self, role: int, taken: Mapping[int, int], free: list[int], on: list[set[int]]) -> bool:
        own = self.fleet.roles[role]
        return all(
            free[gpu] >= size and all(own.shares_with(self.fleet.roles[one]) for one in on[gpu])
            for gpu, size in taken.items()
        )

    def _cost(self, on: list[set[int]]) -> int:
        bills = {device.bill: device.price for device, roles in zip(self.devices, on, strict=True) if roles}
        return -sum(bills.values())

    def _with_cost(self, worth: tuple[int, ...], cost: int) -> tuple[int, ...]:
        if COST not in self.names:
            return worth
        return tuple(cost if name == COST else value for name, value in zip(self.names, worth, strict=True))

    def _sets(self, role: int, way: Way) -> Iterable[tuple[tuple[Place, ...], ...]]:
        """Return the sets of GPUs that servers may be on, those of each pool."""
        if way.fixed or not way.size:
            return [(way.fixed,)]
        for shape, _ in way.parts:
            if (role, shape) not in self._known:
                self._known[role, shape] = list(self._placements(self.fleet.roles[role], shape))
        return itertools.product(*(self._known[role, shape] for shape, _ in way.parts))

    @functools.cached_property
    def _known(self) -> dict[tuple[int, Shape], list[tuple[Place, ...]]]:
        return {}

    def _placements(self, role: Role, shape: Shape) -> Iterator[tuple[Place, ...]]:
        pool, width, parts, replicas = shape
        servers = list(self._servers(pool, width, parts))
        for places in itertools.combinations_with_replacement(servers, replicas):
            gpus = [gpu for place in places for gpu in place]
            nodes = [node for place in places for node in {self.devices[gpu].node for gpu in place}]
            apart = len(set(gpus)) == len(gpus)
            if (role.replicas is None or role.spread) and not apart:
                continue  # an open number of servers, or spread ones, are on GPUs of their own
            if role.spread == "node" and len(set(nodes)) < len(nodes):
                continue
            yield places

    def _servers(self, pool: int, width: int, parts: int) -> Iterator[Place]:
        """Yield every place for one server: aligned GPUs of a node for each stage, of one node or of as many nodes."""
        shape = self.fleet.pools[pool]
        blocks: list[tuple[str, Place]] = []
        for node in shape.node_names:
            own = [n for n, device in enumerate(self.devices) if device.pool == pool and device.node == node]
            blocks += [(node, tuple(own[at : at + width])) for at in range(0, len(own) - width + 1, width)]
        inside = width * parts <= shape.gpus_per_node
        for chosen in itertools.combinations(blocks, parts):
            nodes = {node for node, _ in chosen}
            if len(nodes) == (1 if inside else parts):
                yield tuple(gpu for _, block in chosen for gpu in block)

    def _ways(self, role: Role) -> Iterator[Way]:
        """Yield the ways to serve a role but those beaten by one on the same GPUs, with no more memory, for as much."""
        if role.across_pools:
            yield from self._across(role)
            return
        found: dict[Shape, list[Way]] = {}
        for way in (self._way(role, [part]) for part in self._all_ways(role)):
            found.setdefault(way.shape, []).append(way)
        for ways in found.values():
            best: Way | None = None
            for way in sorted(ways, key=lambda one: (one.size, tuple(-value for value in one.worth))):
                if best is None or way.worth > best.worth:
                    best = way
                    yield way
        yield from self._standing(role)

    def _across(self, role: Role) -> Iterator[Way]:
        """Yield the ways to serve a role with servers of one checkpoint and context in one pool or several."""
        alike: dict[tuple[str, int], dict[int, dict[object, Part]]] = {}
        for part in self._all_ways(role):
            there = alike.setdefault((part.repository, part.context), {}).setdefault(part.shape[0], {})
            key = part.shape, part.figure, part.requests, part.batch
            if key not in there or part.size < there[key].size:
                there[key] = part
        for pools in alike.values():
            none: list[list[Part | None]] = [[None, *parts.values()] for parts in pools.values()]
            for chosen in itertools.product(*none):
                parts = [part for part in chosen if part]
                requests = sum(part.requests for part in parts)
                servers = sum(part.shape[3] for part in parts)
                if parts and requests >= role.concurrency_min and role.replicas in (None, servers):
                    yield self._way(role, parts)

    def _way(self, role: Role, parts: "Sequence[Part]") -> Way:
        """Return the servers of one pool or several as a way: as accurate as the least accurate of them."""
        first, *more = parts
        served = min(role.concurrency_target, sum(part.requests for part in parts))
        batch = THOUSAND - sum(THOUSAND - part.batch for part in parts)
        figure = min(part.figure for part in parts)
        worth = self._worth(role, first.best, figure, served, first.context, batch)
        taken = sum(part.size * gpus_of(part.shape) for part in parts)
        return Way(first.shape, first.size, (*worth, -taken), more=tuple((part.shape, part.size) for part in more))

    def _all_ways(self, role: Role) -> "Iterator[Part]":
        chosen = [(model, variant) for model in role.models for variant in model.variants if role.allows(variant)]
        scale = self.catalog.accuracy.scale_for(role.task, role.models)
        best, figure = _measure([self._accuracy(role, pair, scale, "auto", role.context_min) for pair in chosen])
        for model, variant in chosen:
            architecture, quantization = _stored(model, variant)
            longest = min(architecture.max_model_len, model.context_limit or architecture.max_model_len)
            top = min(role.context_wish, longest)
            contexts = {role.context_min, top, *(2**n for n in range(30) if role.context_min < 2**n < top)}
            for cache, context in itertools.product(
                [role.kv_cache_dtype] if role.kv_cache_dtype else ["auto", "fp8"], contexts
            ):
                accuracy = self._accuracy(role, (model, variant), scale, cache, context)
                # Published evidence that a cache dtype ruins a model is the catalog's.
                if (
                    cache in model.cache_refusals
                    or context > longest
                    or figure(accuracy) is None
                    or not _accurate(role, accuracy)
                ):
                    continue
                for number, pool in enumerate(self.fleet.pools):
                    if role.pools is None or pool.name in role.pools:
                        made = (variant.repository, architecture, quantization, pool.gpu)
                        yield from self._on(role, made, cache, context, number, best, figure(accuracy) or 0)

    def _on(
        self,
        role: Role,
        made: Made,
        cache: str,
        context: int,
        number: int,
        best: int,
        figure: int,
    ) -> Iterator["Part"]:
        pool = self.fleet.pools[number]
        sizes = role.tensor_parallel_sizes or tuple(n for n in (1, 2) if n <= pool.gpus_per_node)
        for width, parts in itertools.product(sizes, role.pipeline_parallel_sizes or (1,)):
            if not list(self._servers(number, width, parts)):
                continue
            most = min(len(self.devices), role.concurrency_target)
            numbers = range(1, (role.replicas or most) + 1)
            for replicas in [role.replicas] if role.replicas and not role.across_pools else numbers:
                shape = (number, width, parts, replicas)
                if role.replicas is None and not any(self._placements(role, shape)):
                    continue
                least, target = -(-role.concurrency_min // replicas), role.concurrency_target
                least = 1 if role.across_pools else least
                default = _engine_batch(made[3], self.profile, made[1], context, -(-target // replicas))
                for sequences in range(least, max(least, -(-target // replicas)) + 1):
                    # What a server is sized for may be more than it is asked for: the target's share, its halves.
                    for batch in {default >> n for n in range(12) if default >> n >= min(512, default)}:
                        bytes_taken = self._bytes(
                            role, made, (width, parts), cache, context, batch, sequences, replicas
                        )
                        if bytes_taken is not None:
                            part = Part(shape, bytes_taken, figure, best, sequences * replicas, context,
                                        min(THOUSAND, batch * THOUSAND // default), made[0])  # fmt: skip
                            yield part

    def _bytes(
        self,
        role: Role,
        made: Made,
        split: tuple[int, int],
        cache: str,
        context: int,
        batch: int,
        sequences: int,
        replicas: int,
    ) -> int | None:
        """Return what a server takes of each GPU with so many sequences, sized for the fewest that are tried."""
        least, target = -(-role.concurrency_min // replicas), role.concurrency_target
        limits: list[int] = []
        if role.across_pools:
            least, target = 1, -(-target // replicas) * replicas
        for most in {target // replicas, -(-target // replicas)}:
            floor = least if most == target // replicas else most
            own = [max(most, floor) >> n for n in range(10) if max(most, floor) >> n > floor]
            limits += [limit for limit in (*own, floor) if limit >= sequences]
        sizes = [
            _sized(*made, self.profile, split, cache, context, batch, limit, role.request_tokens or context)
            for limit in limits
        ]
        return min((size.footprint(sequences) for size in sizes if size), default=None)

    def _worth(
        self, role: Role, best: int, figure: int, served: int, context: int, batch: int, kept: int = 0
    ) -> tuple[int, ...]:
        """Return what an option adds to every stage but headroom."""
        points = (best - 100 * (max(0, best - figure) // 100)) * MILLION // best
        share = served * (MILLION // role.concurrency_target)
        values = {
            "balanced": points + share,
            "accuracy": points,
            "concurrency": share,
            "context": THOUSAND * min(context, role.context_wish) // role.context_wish,
            "batched tokens": min(THOUSAND, batch),
            "accuracy below a point": figure,
        }
        own = {**{name: role.weight * value for name, value in values.items()}, COST: 0, KEPT: kept}
        return tuple(own[name] for name in self.names[:-1])

    def _standing(self, role: Role) -> Iterator[Way]:
        """Yield servers as a previous plan has them, anywhere, where they meet all that is required of them now."""
        servers = [server for server in self.previous.servers if server.role == role.name] if self.previous else []
        if servers:
            for count in [role.replicas] if role.replicas else range(1, len(servers) + 1):
                yield from self._as_before(role, servers, count)

    def _as_before(self, role: Role, servers: list[ServerPlan], count: int) -> Iterator[Way]:
        """Yield so many servers like those of a previous plan on all places; those that are where one was are kept."""
        places = [place for place in map(self._place_of, servers) if place]
        chosen = [(model, variant) for model in role.models for variant in model.variants if role.allows(variant)]
        found = [pair for pair in chosen if pair[1].repository == servers[0].repository]
        if not found or not places:
            return
        before = Counter(places)
        pool = self.devices[places[0][0]].pool
        (pair,) = found
        server, (architecture, quantization) = servers[0], _stored(*pair)
        split = server.tensor_parallel_size, server.pipeline_parallel_size
        made = (pair[1].repository, architecture, quantization, self.fleet.pools[pool].gpu)
        scale = self.catalog.accuracy.scale_for(role.task, role.models)
        best, figure = _measure([self._accuracy(role, one, scale, "auto", role.context_min) for one in chosen])
        accuracy = self._accuracy(role, pair, scale, server.kv_cache_dtype, server.max_model_len)
        target = role.concurrency_target
        allowed = (
            (role.pools is None or self.fleet.pools[pool].name in role.pools)
            and role.kv_cache_dtype in (None, server.kv_cache_dtype)
            and split[0] in (role.tensor_parallel_sizes or (1, 2))
            and split[1] in (role.pipeline_parallel_sizes or (1,))
            and server.max_model_len >= role.context_min  # more than is wished for breaks no requirement
            and server.max_num_seqs * count >= role.concurrency_min
            and figure(accuracy) is not None
            and _accurate(role, accuracy)
        )
        share = target // count if server.max_num_seqs <= target // count else -(-target // count)
        default = _engine_batch(made[3], self.profile, architecture, server.max_model_len, share)
        length = role.request_tokens or server.max_model_len
        sized = _sized(*made, self.profile, split, server.kv_cache_dtype, server.max_model_len,
                       server.max_num_batched_tokens, server.max_num_seqs, length)  # fmt: skip
        if allowed and sized:
            size = sized.footprint(server.max_num_seqs)
            batch = server.max_num_batched_tokens * THOUSAND // default
            served = min(target, server.max_num_seqs * count)
            for fixed in self._placements(role, (pool, *split, count)):
                kept = (before & Counter(fixed)).total()
                own = role, best, figure(accuracy) or 0, served, server.max_model_len, batch
                gpus = sum(len(place) for place in fixed)
                yield Way((pool, *split, count), size, (*self._worth(*own, kept=kept), -size * gpus), fixed)

    def _place_of(self, server: ServerPlan) -> Place | None:
        """Return the numbers of a server's GPUs; None when the fleet has no longer all of them."""
        numbers = {}
        number = 0
        for pool in self.fleet.pools:
            for node in pool.node_names:
                for index in range(pool.gpus_per_node):
                    numbers[node, pool.gpu_index + index] = number
                    number += 1
        found = [numbers.get(gpu) for gpu in server.gpus]
        return None if None in found else tuple(gpu for gpu in found if gpu is not None)

    def _accuracy(self, role: Role, pair: tuple[Model, Variant], scale: str, cache: str, context: int) -> Accuracy:
        return self.catalog.accuracy.of(*pair, role.task, scale=scale, kv_cache_dtype=cache, context_tokens=context)


def _measure(accuracies: list[Accuracy]) -> tuple[int, Callable[[Accuracy], int | None]]:
    """Return the best figure of the candidates, and how to read the figure of one: its score, or its recovery."""
    readers: tuple[Callable[[Accuracy], int | None], ...] = (
        lambda one: one.score,
        lambda one: one.recovery_median,
        lambda _: 1,
    )
    for read in readers:
        if known := [figure for one in accuracies if (figure := read(one))]:
            return max(known), read
    raise AssertionError("a role has candidates")


def _accurate(role: Role, accuracy: Accuracy) -> bool:
    """Whether an accuracy keeps the floors of a role, at its own floor."""
    pairs = ((role.recovery_floor, accuracy.recovery_floor), (role.score_floor, accuracy.score_floor))
    return all(floor is None or (found is not None and found >= floor) for floor, found in pairs)


def _engine_batch(gpu: GPU, profile: EngineProfile, architecture: Architecture, context: int, sequences: int) -> int:
    """Return the batch the engine chooses itself."""
    return default_flags(
        profile, gpu, architecture, max_model_len=context, max_num_seqs=sequences
    ).max_num_batched_tokens


_SIZED: dict[object, Demand | None] = {}


@functools.cache
def _read(catalog_model: str, variant: str) -> dict[str, tuple[Architecture, Quantization]]:
    return {}


def _stored(model: Model, variant: Variant) -> tuple[Architecture, Quantization]:
    known = _read(model.repository, variant.repository)
    if not known:
        known["made"] = stored(model, variant)
    return known["made"]


def _sized(
    repository: str,
    architecture: Architecture,
    quantization: Quantization,
    gpu: GPU,
    profile: EngineProfile,
    split: tuple[int, int],
    cache: str,
    context: int,
    batch: int,
    limit: int,
    request: int,
) -> Demand | None:
    """Return the memory of a server that takes at most ``limit`` sequences; None when the engine refuses it."""
    key = (repository, gpu.name, split, cache, context, batch, limit, request)
    if key not in _SIZED:
        flags = default_flags(
            profile, gpu, architecture, max_model_len=context, max_num_seqs=limit, max_num_batched_tokens=batch,
            kv_cache_dtype=cache, tensor_parallel_size=split[0], pipeline_parallel_size=split[1],
        )  # fmt: skip
        server = Server(architecture=architecture, quantization=quantization, flags=flags)
        whole = replace(flags, max_num_batched_tokens=max(batch, limit))
        refused = refusal(architecture, quantization, whole, profile, gpu)
        _SIZED[key] = None if refused else demand(server, gpu, profile, request)
    return _SIZED[key]


def _plus(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(operator.add, one, other))
