"""What binds: for every role the next step up in concurrency, context, batch and accuracy, and what stops it."""

import bisect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from planner.fleet import TimeShare
from planner.options import Option, Prepared
from planner.options.option import Explained
from planner.plan import Binding, Cost
from planner.search.turns import GPU, charge
from planner.search.watch import late
from planner.solve.assemble import Decision, by_role


def bindings(prepared: Prepared, decided: Sequence[Decision], groups: Sequence[TimeShare] = ()) -> tuple[Binding, ...]:
    """Return what stops each role from having more, with all other roles and all places as they are.

    Of a role across pools it is what stops the servers that lead. Nothing is said of roles that nobody waits for.
    """
    considered = {found.role.name: found.considered for found in prepared.roles}
    there = _on_gpus(decided)
    found: list[Binding] = []
    for own, *others in by_role(decided):
        if late():
            break
        beside = sum(other.requests for other in others)
        steps = _Steps(own, considered[own.role.name], _room(prepared, decided, there, own, groups), beside)
        found += [steps.concurrency(), steps.context(), steps.batch(), steps.variant()]
    return tuple(found)


def _on_gpus(decided: Sequence[Decision]) -> dict[GPU, Counter[int]]:
    """Return how many servers of each decision, by its position, every GPU has that has any."""
    found: dict[GPU, Counter[int]] = {}
    for position, decision in enumerate(decided):
        for block in decision.blocks:
            for gpu in block.gpus:
                found.setdefault(gpu, Counter())[position] += 1
    return found


def _room(
    prepared: Prepared,
    decided: Sequence[Decision],
    there: Mapping[GPU, Counter[int]],
    own: Decision,
    groups: Sequence[TimeShare],
) -> int:
    """Return the bytes each server of a role may take: what the others leave on the fullest of its GPUs."""
    capacity = prepared.places[own.option.pool].capacity_bytes
    gpus = {gpu for block in own.blocks for gpu in block.gpus}
    return capacity - max(_beside(decided, there[gpu], own, groups) for gpu in gpus)


def _beside(decided: Sequence[Decision], here: Counter[int], own: Decision, groups: Sequence[TimeShare]) -> int:
    """Return what others take of a GPU at most while a role is awake; more servers of its own count among them."""
    counts: Counter[str] = Counter()
    for position, count in here.items():
        counts[decided[position].role.name] += count
    beside = (counts[own.role.name] - 1) * own.footprint
    for position, count in here.items():
        decision = decided[position]
        if decision.role.name != own.role.name and not any(decision.role.name in group.roles for group in groups):
            beside += count * decision.footprint
    for group in groups:
        others = [other for other in decided if other is not own and other.role.name in group.roles]
        loads = [(counts[o.role.name] * o.footprint, counts[o.role.name] * o.option.asleep.gpu_bytes) for o in others]
        beside += charge(loads, group.awake - (own.role.name in group.roles))
    return beside


class _Steps:
    """The next steps of one role, given the bytes each of its servers may take of its GPUs, and requests ``beside``."""

    def __init__(self, own: Decision, considered: Explained, room_bytes: int, beside: int) -> None:
        self._own, self._option = own, own.option
        self._requests = own.requests + beside
        self._beside = beside
        self._considered = considered
        alike = considered.like(own.option)
        self._same = [option for option in alike if option.kv_cache_dtype == own.option.kv_cache_dtype]
        self._room = room_bytes
        self._taken = own.footprint

    def concurrency(self) -> Binding:
        """One more request for each server, or each of its data-parallel ranks."""
        count = self._own.sequences
        now = str(self._requests)
        if self._requests >= self._own.role.concurrency_target:
            return self._limit("concurrency", now, "wish")
        wider = [
            option
            for option in self._alike(self._option.max_model_len)
            if option.max_num_batched_tokens == self._option.max_num_batched_tokens
        ]
        if self._own.role.wants_speed and all(option.sequences_max <= count for option in wider):
            return self._limit("concurrency", now, "speed")
        return self._step("concurrency", now, str((count + 1) * self._option.ranks + self._beside), wider, count + 1)

    def context(self) -> Binding:
        """The next longer context that was considered."""
        length = self._option.max_model_len
        if length >= self._own.role.context_wish:
            return self._limit("context", str(length), "wish")
        longer = min((o.max_model_len for o in self._same if o.max_model_len > length), default=0)
        if not longer:
            return self._limit("context", str(length), "model")
        options = self._alike(longer)
        step = self._step("context", str(length), str(longer), options, self._own.sequences)
        return replace(step, cost=self._loss(options)) if step.limit == "objective" else step

    def batch(self) -> Binding:
        """The next larger batch."""
        size = self._option.max_num_batched_tokens
        alike = self._alike(self._option.max_model_len)
        larger = min((o.max_num_batched_tokens for o in alike if o.max_num_batched_tokens > size), default=0)
        if not larger:
            return self._limit("batched tokens", str(size), "engine")
        options = [option for option in alike if option.max_num_batched_tokens == larger]
        return self._step("batched tokens", str(size), str(larger), options, self._own.sequences)

    def variant(self) -> Binding:
        """A more accurate variant: the one that fits at the least cost, or the least demanding one if none fits."""
        own, name = self._option, self._option.variant.repository
        everything = self._own.sequences, own.max_model_len, own.max_num_batched_tokens
        better = self._considered.better(own, self._room, self._kept, everything)
        if not better:
            return self._limit("variant", name, "best")
        step = self._step("variant", name, _spell(better, own), [better], better.sequences_min)
        return replace(step, cost=self._cost(better)) if better.least_bytes <= self._room else step

    def _kept(self, option: Option) -> tuple[int, int, int]:
        """How much of what the role has now an option would leave it: requests, context, batch."""
        own = self._option
        return (
            self._sequences(option),
            min(option.max_model_len, own.max_model_len),
            min(option.max_num_batched_tokens, own.max_num_batched_tokens),
        )

    def _sequences(self, option: Option) -> int:
        """The most requests, no more than now, that an option can serve in the room there is."""
        most = min(self._own.sequences, option.sequences_max)
        fitting = range(option.sequences_min, most + 1)
        beyond = bisect.bisect_right(fitting, self._room, key=option.demand.footprint)
        return option.sequences_min + beyond - 1

    def _cost(self, option: Option) -> Cost | None:
        """Return the first thing the role would have less of; None when there is nothing, as in an unproven plan."""
        own, (sequences, length, batch) = self._option, self._kept(option)
        for what, now, then in (
            ("concurrency", self._requests, sequences * option.ranks + self._beside),
            ("context", own.max_model_len, length),
            ("batched tokens", own.max_num_batched_tokens, batch),
        ):
            if then < now:
                return Cost(what=what, now=now, then=then)
        return None

    def _loss(self, options: Iterable[Option]) -> Cost | None:
        """Return the part of the unquantized score that a longer context gives up (an FP8 cache keeps less of it)."""
        now = self._option.accuracy.recovery_median
        then = max((option.accuracy.recovery_median or 0 for option in options), default=0)
        return Cost(what="recovery", now=now, then=then) if now is not None and then < now else None

    def _alike(self, length: int) -> list[Option]:
        return [option for option in self._same if option.max_model_len == length]

    def _step(self, what: str, now: str, then: str, options: Iterable[Option], sequences: int) -> Binding:
        needed = min(
            (option.demand.footprint(sequences) for option in options if option.sequences_max >= sequences),
            default=None,
        )
        if needed is None:
            return self._limit(what, now, "engine")
        return Binding(
            role=self._own.role.name,
            what=what,
            now=now,
            next=then,
            limit="memory" if needed > self._room else "objective",
            needed_bytes=needed - self._taken,
            free_bytes=self._room - self._taken,
        )

    def _limit(self, what: str, now: str, limit: str) -> Binding:
        return Binding(role=self._own.role.name, what=what, now=now, next="", limit=limit, needed_bytes=0, free_bytes=0)


def _spell(option: Option, beside: Option) -> str:
    """Name a variant, and its KV cache dtype when that differs too."""
    same = option.kv_cache_dtype == beside.kv_cache_dtype
    return option.variant.repository if same else f"{option.variant.repository} with KV cache {option.kv_cache_dtype}"
