"""Ways: every way to serve a role, and what each is worth in every stage of the objective but cost."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from benchmarks.second_opinion.accuracies import accuracy_of
from benchmarks.second_opinion.board import Board, Place, Shape
from benchmarks.second_opinion.paces import Paces, Setting
from benchmarks.second_opinion.sizes import Made, engine_batch, made_of, sized
from planner.catalog import Catalog
from planner.engine.profile import load_profile
from planner.facts.accuracy import Accuracy
from planner.facts.variant import Model, Variant
from planner.fleet import Fleet, Role
from planner.plan import Plan, ServerPlan

MILLION, THOUSAND = 10**6, 10**3
MOST = 200
"""Requests at once that a rate may need of a server."""
KEPT, COST, HEADROOM = "minimal-change", "cost", "headroom"


class Part(Struct, frozen=True):
    """The servers of a role in one pool: what they take of each GPU, and what decides what they are worth."""

    shape: Shape
    size: int
    figure: int
    best: int
    requests: int
    context: int
    batch: int
    repository: str
    pace: tuple[tuple[str, int], ...] = ()


class Way(Struct, frozen=True):
    """One way to serve a role: equal servers of one size, and what they are worth in each stage but cost.

    ``places`` are the sets of GPUs that the servers may be on, each a tuple of places. ``more`` are the shapes and
    sizes of further servers, in other pools, of a role across pools. All servers take ``requests`` together, and are
    as accurate as ``figure`` says. A way without a ``repository`` leaves the role out.
    """

    shape: Shape
    size: int
    worth: tuple[int, ...]
    repository: str = ""
    requests: int = 0
    figure: int = 0
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


class Ways:
    """The ways to serve the roles of a fleet, worth something in the stages of ``names``."""

    def __init__(
        self, fleet: Fleet, catalog: Catalog, board: Board, names: Sequence[str], previous: Plan | None
    ) -> None:
        """Take what decides what there is; ``previous`` is a plan whose servers may stay."""
        self.fleet, self.catalog, self.board, self.names, self.previous = fleet, catalog, board, names, previous
        self.profile = load_profile(fleet.engine_version)
        self.paces = Paces(fleet, catalog, self.profile, board)

    def of(self, role: Role) -> Iterator[Way]:
        """Yield all ways to serve a role."""
        if role.across_pools:
            yield from self._across(role)
            return
        yield from (self._way(role, [part]) for part in self._all_ways(role))
        yield from self._standing(role)

    def left_out(self, role: Role) -> Way:
        """Return the way to leave a role out."""
        own = self.paces.left_out(role)
        return Way((-1, 0, 0, 0), 0, tuple(own.get(name, 0) for name in self.names))

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

    def _way(self, role: Role, parts: Sequence[Part]) -> Way:
        """Return the servers of one pool or several as a way: as accurate as the least accurate of them."""
        first, *more = parts
        requests = sum(part.requests for part in parts)
        served = min(role.concurrency_target, requests)
        batch = THOUSAND - sum(THOUSAND - part.batch for part in parts)
        figure = min(part.figure for part in parts)
        worth = self._worth(role, first.best, figure, served, first.context, batch, pace=dict(first.pace))
        taken = sum(part.size * gpus_of(part.shape) for part in parts)
        own = first.repository, requests, figure
        return Way(first.shape, first.size, (*worth, -taken), *own, more=tuple((one.shape, one.size) for one in more))

    def _all_ways(self, role: Role) -> Iterator[Part]:
        chosen = [(model, variant) for model in role.models for variant in model.variants if role.allows(variant)]
        best, figure = _measure([self._accuracy(role, pair, "auto", role.context_min) for pair in chosen])
        for model, variant in chosen:
            architecture, quantization = made_of(model, variant)
            longest = min(architecture.max_model_len, model.context_limit or architecture.max_model_len)
            top = min(role.context_wish, longest)
            contexts = {role.context_min, top, *(2**n for n in range(30) if role.context_min < 2**n < top)}
            for cache, context in itertools.product(
                [role.kv_cache_dtype] if role.kv_cache_dtype else ["auto", "fp8"], contexts
            ):
                accuracy = self._accuracy(role, (model, variant), cache, context)
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
        self, role: Role, made: Made, cache: str, context: int, number: int, best: int, figure: int
    ) -> Iterator[Part]:
        pool = self.fleet.pools[number]
        sizes = role.tensor_parallel_sizes or tuple(n for n in (1, 2) if n <= pool.gpus_per_node)
        for split in itertools.product(sizes, role.pipeline_parallel_sizes or (1,)):
            if not list(self.board.servers(number, *split)):
                continue
            most = min(len(self.board.devices), role.concurrency_target)
            numbers = range(1, (role.replicas or most) + 1)
            for replicas in [role.replicas] if role.replicas and not role.across_pools else numbers:
                shape = (number, *split, replicas)
                if role.replicas is None and not self.board.placements(role, shape):
                    continue
                yield from self._loaded(role, made, cache, context, shape, best, figure)

    def _loaded(
        self, role: Role, made: Made, cache: str, context: int, shape: Shape, best: int, figure: int
    ) -> Iterator[Part]:
        """Yield so many servers with every number of requests, and every batch of the engine's own and its halves."""
        replicas = shape[3]
        least, share = -(-role.concurrency_min // replicas), -(-role.concurrency_target // replicas)
        least = 1 if role.across_pools else least
        asked = range(least, max(least, share) + 1)
        for half in range(12):
            settings: dict[int, tuple[Setting, Setting]] = {}
            # A rate may need more requests than the target; batches below the engine's own are its halves, to 512.
            for sequences in itertools.chain(asked, range(asked.stop, MOST if role.rate_milli else asked.stop)):
                if sequences >= asked.stop and settings:
                    break
                most = sequences if self.paces.counted else share
                default = engine_batch(made[3], self.profile, made[1], context, most)
                setting = Setting(shape[0], made, shape[1:3], cache, context, default >> half)
                if default >> half < min(512, default):
                    continue
                both = setting, replace(setting, batch=default)
                if all(self.paces.fine(role, one, sequences, replicas) for one in both):
                    settings[sequences] = both
            for sequences, (setting, whole) in settings.items():
                slow, fast = (self.paces.worth(role, one, sequences, replicas) for one in (setting, whole))
                pace = tuple((name, min(value, fast[name])) for name, value in slow.items())
                taken = self._bytes(role, setting, sequences, replicas, list(settings))
                if taken is not None:
                    own = min(THOUSAND, setting.batch * THOUSAND // whole.batch)
                    yield Part(shape, taken, figure, best, sequences * replicas, context, own, made[0], pace)

    def _bytes(self, role: Role, setting: Setting, sequences: int, replicas: int, fine: list[int]) -> int | None:
        """Return what a server takes of each GPU with so many sequences, sized for the fewest that are tried.

        ``fine`` are the numbers of sequences with which it is fast enough. What a server is sized for may be more than
        it is asked for: the target's share, its halves.
        """
        least, target = -(-role.concurrency_min // replicas), role.concurrency_target
        limits: list[int] = []
        if role.across_pools:
            least, target = 1, -(-target // replicas) * replicas
        for most in {target // replicas, -(-target // replicas)}:
            floor = least if most == target // replicas else most
            if role.wants_speed:
                floor, most = max(floor, min(fine)), min(most, max(fine))
            own = [max(most, floor) >> n for n in range(10) if max(most, floor) >> n > floor]
            limits += [limit for limit in (*own, floor) if limit >= sequences]
        if self.paces.counted:
            limits = [sequences]
        length = role.request_tokens or setting.context
        own_sizes = [
            sized(
                setting.made, self.profile, setting.split, setting.cache, setting.context, setting.batch, limit, length
            )
            for limit in limits
        ]
        return min((size.footprint(sequences) for size in own_sizes if size), default=None)

    def _worth(
        self,
        role: Role,
        best: int,
        figure: int,
        served: int,
        context: int,
        batch: int,
        kept: int = 0,
        pace: dict[str, int] | None = None,
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
            **(pace or {}),
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
        places = [place for place in map(self.board.place_of, servers) if place]
        chosen = [(model, variant) for model in role.models for variant in model.variants if role.allows(variant)]
        found = [pair for pair in chosen if pair[1].repository == servers[0].repository]
        if not found or not places:
            return
        before = Counter(places)
        pool = self.board.devices[places[0][0]].pool
        (pair,) = found
        server, (architecture, quantization) = servers[0], made_of(*pair)
        split = server.tensor_parallel_size, server.pipeline_parallel_size
        made = (pair[1].repository, architecture, quantization, self.fleet.pools[pool].gpu)
        best, figure = _measure([self._accuracy(role, one, "auto", role.context_min) for one in chosen])
        accuracy = self._accuracy(role, pair, server.kv_cache_dtype, server.max_model_len)
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
        default = engine_batch(made[3], self.profile, architecture, server.max_model_len, share)
        length = role.request_tokens or server.max_model_len
        size = sized(made, self.profile, split, server.kv_cache_dtype, server.max_model_len,
                     server.max_num_batched_tokens, server.max_num_seqs, length)  # fmt: skip
        if allowed and size:
            taken = size.footprint(server.max_num_seqs)
            batch = server.max_num_batched_tokens * THOUSAND // default
            served = min(target, server.max_num_seqs * count)
            own = made[0], server.max_num_seqs * count, figure(accuracy) or 0
            for fixed in self.board.placements(role, (pool, *split, count)):
                kept = (before & Counter(fixed)).total()
                worth = self._worth(role, best, own[2], served, server.max_model_len, batch, kept=kept)
                gpus = sum(len(place) for place in fixed)
                yield Way((pool, *split, count), taken, (*worth, -taken * gpus), *own, fixed)

    def _accuracy(self, role: Role, pair: tuple[Model, Variant], cache: str, context: int) -> Accuracy:
        return accuracy_of(self.catalog, role, *pair, cache, context)


def unbeaten(ways: Sequence[Way], role: Role) -> list[Way]:
    """Return the ways but those beaten by one on the same GPUs, with no more memory, for as much."""
    if role.across_pools:
        return list(ways)
    found: dict[Shape, list[Way]] = {}
    for way in ways:
        if way.repository and not way.fixed:
            found.setdefault(way.shape, []).append(way)
    kept = [way for way in ways if not way.repository or way.fixed]
    for alike in found.values():
        best: Way | None = None
        for way in sorted(alike, key=lambda one: (one.size, tuple(-value for value in one.worth))):
            if best is None or way.worth > best.worth:
                best = way
                kept.append(way)
    return kept


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
