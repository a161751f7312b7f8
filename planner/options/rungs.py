"""Rungs: one candidate at every context, batch size and limit of sequences, as options with memory and worth.

Memory never falls when a context, a batch or a limit of sequences grows: a longer request, a larger pass and more CUDA
graphs only add. So the lowest rung is the smallest option of its candidate, and a context that does not fit at its
lowest rung does not fit at all.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from msgspec import Struct, field
from msgspec.structs import replace

from planner.engine.faults import Case, Fault
from planner.engine.flags import ServeFlags, default_flags
from planner.facts.accuracy import Accuracy
from planner.facts.variant import Model, Variant
from planner.fleet import Role
from planner.memory.asleep import residue
from planner.memory.demand import Demand, loaded_bytes
from planner.memory.pins import server_refusal
from planner.memory.terms import Server
from planner.memory.vision import whole_item
from planner.options import ladders
from planner.options.candidates import Candidate
from planner.options.demands import demand_of
from planner.options.figures import RoleFigures
from planner.options.layouts import pinned_flags
from planner.options.option import Option, Rejection
from planner.options.paces import Pacing, as_fast_and_small, best_of, decisive, ends, settled, times
from planner.options.prune import Front, Shape
from planner.options.replicas import Load
from planner.options.worth import NO_PACE, Measure, Pace, Worth, worth
from planner.tensors.identity import Same


class Rungs(Struct, frozen=True, eq=False, dict=True):
    """The ladders of one candidate in one role, with one load on each of its servers.

    With ``avoid`` a context with a serious known fault of the engine is no rung. ``pacing`` is there where speed
    counts: a load then has one number of sequences, unless it is still ``unsettled``; ``paces`` are those of a single
    server that were found already, by the flags and the engine's own batch. Where only some batches are as fast as they
    must, ``halves`` says how often the engine's own is halved for each of them. With ``few`` only the ends of the
    ladders of contexts and batches are rungs.
    """

    role: Role
    candidate: Candidate
    load: Load
    figures: RoleFigures
    measure: Measure
    avoid: bool = False
    pacing: Pacing | None = None
    paces: dict[tuple[ServeFlags, int], Pace] = field(default_factory=dict)
    halves: tuple[int, ...] = ()
    few: bool = False

    def refusal(self) -> Rejection | None:
        """Return why no rung is long or accurate enough, or None."""
        if not self._contexts:
            return self.candidate.rejected(self.role, "context", self.role.context_min, self.candidate.context_limit)
        return self._inaccurate(self.role.context_min)

    def engine_refusal(self) -> Rejection | None:
        """Return why the engine starts no rung, or None."""
        return self._engine_refusal(self.role.context_min)

    def fault(self) -> Rejection | None:
        """Return the serious known fault that the least context has, if those are to be avoided."""
        length = self.role.context_min
        found = self._serious(length)
        if not found:
            return None
        return self._engine_refusal(length) or self.candidate.rejected(self.role, "fault", detail=found.account)

    def least_bytes(self) -> int:
        """Return what every rung takes of a GPU at least: weights and what the process holds besides."""
        flags = self._flags(self.role.context_min)
        server = self.candidate.server(replace(flags, max_num_batched_tokens=self._least_batch(flags)))
        return loaded_bytes(server, self.candidate.place.gpu, self.candidate.place.profile)

    def servers(self) -> list[Server]:
        """Return the server at the least context with each batch, which decides how fast it is."""
        flags = self._flags(self.role.context_min)
        return [self.candidate.server(replace(flags, max_num_batched_tokens=own)) for own in self._batches(flags)]

    @property
    def least_batch(self) -> int:
        """The smallest batch at the least context."""
        return self._batches(self._flags(self.role.context_min))[-1]

    def lowest(self) -> Option:
        """Return the smallest option: the least context, the smallest batch, the fewest sequences."""
        length, batch = self.role.context_min, self.least_batch
        flags = self._flags(length)
        return self._option(length, flags, batch, self._limits(batch)[-1])

    def best(self) -> Worth:
        """Return what no rung exceeds: the accuracy of the least context, the longest one, the engine's own batch."""
        return self._worth(self.role.context_min, self._lengths[-1], 1, 1, self._best_pace(self._lengths))

    def fitting(self) -> Iterator[Option]:
        """Yield all options, up to and including the first context of which none fits an otherwise empty GPU."""
        for length in self._lengths:
            if self._inaccurate(length) or self._engine_refusal(length):
                return
            rungs = list(self._at(length))
            yield from rungs
            if all(option.least_bytes > self.candidate.place.capacity_bytes for option in rungs):
                return

    def exactly(self, length: int, batch: int, sequences: int) -> Option | None:
        """Return the option with just these figures; None when a rule of the role or the engine is against it."""
        within = self.role.context_min <= length <= self.candidate.context_limit
        if not within or self._inaccurate(length):
            return None
        defaults = self._flags(length)
        flags = replace(defaults, max_num_batched_tokens=batch, max_num_seqs=sequences)
        if self._refused(flags) or (self.candidate.whole_prompts and batch < length):
            return None
        option = self._option(length, defaults, batch, sequences)
        return option if option.least_bytes <= self.candidate.place.capacity_bytes else None

    def boxes(self, size: Callable[[int], int]) -> "Iterator[Box]":
        """Yield all options as one box, given what each takes at least with so many sequences."""
        if self.load.least <= self.load.most:
            yield Box(self, self.best(), self.load.least, self.load.most, size)

    @property
    def unsettled(self) -> bool:
        """Whether speed counts and the load leaves the number of sequences open."""
        return self.pacing is not None and self.load.least < self.load.most

    def by_load(self, box: "Box") -> "Iterator[Box]":
        """Yield the options of a box by the number of sequences."""
        for load in settled([self.load]):
            yield from replace(self, load=load).boxes(box.size)

    def by_context(self, box: "Box") -> "Iterator[Box]":
        """Yield the options of a box by context: of each that fits an otherwise empty GPU with this load."""
        for length in self._lengths:
            if self._inaccurate(length) or self._engine_refusal(length):
                return
            least = self.least_at(length)
            if least.footprint(box.least) > self.candidate.place.capacity_bytes:
                return
            worth = box.rungs._worth(length, length, 1, 1, self._best_pace([length]))
            yield replace(box, worth=worth, size=least.footprint, length=length)

    def least_at(self, length: int) -> Demand:
        """Return what each option of a context takes at least."""
        flags = self._flags(length)
        batch = self._batches(flags)[-1]
        return self._needed(replace(flags, max_num_batched_tokens=batch, max_num_seqs=self._limits(batch)[-1]))

    def by_rung(self, box: "Box") -> "Iterator[Box]":
        """Yield the options of one context as boxes of one option each.

        Of its numbers of sequences those are counted that a lower limit does not allow, for there that one is no worse.
        """
        flags = self._flags(box.length)
        sized: dict[tuple[int, int], Option] = {}
        for batch in self._batches(flags):
            limits = self._limits(batch)
            default = flags.max_num_batched_tokens
            pace = self._pace_of(replace(flags, max_num_batched_tokens=batch, max_num_seqs=limits[0]), default)
            worth = self._worth(box.length, box.length, batch, default, pace)
            for limit, lower in zip(limits, (*limits[1:], self.load.least - 1), strict=True):
                yield Box(self, worth, lower + 1, limit, box.size, box.length, batch, sized)

    def rung(self, box: "Box") -> Option | None:
        """Return the option of a box, or None where it does not fit or a larger batch is as small and as fast."""
        flags = self._flags(box.length)
        option = box.sized[box.batch, box.most] = self._option(box.length, flags, box.batch, box.most)
        if option.least_bytes > self.candidate.place.capacity_bytes:
            return None
        larger = (other for (batch, most), other in box.sized.items() if batch > box.batch and most == box.most)
        return None if any(as_fast_and_small(other, option) for other in larger) else option

    @cached_property
    def shape(self) -> Shape:
        """What decides which options may beat those of this candidate, beside size and worth."""
        candidate = self.candidate
        where = candidate.place.pool, self.load.replicas, candidate.blocks, candidate.nodes
        needs = self.lowest().needs if self.role.sleeps else (candidate.width,)
        return Shape(where, needs, candidate.variant.repository, candidate.kv_cache_dtype)

    def _at(self, length: int) -> Iterator[Option]:
        """Yield the options of one context; a smaller batch that saves no memory is left out with its sequences."""
        flags = self._flags(length)
        larger: Option | None = None
        for batch in self._batches(flags):
            most, *fewer = self._limits(batch)
            option = self._option(length, flags, batch, most)
            if larger and most == larger.sequences_max and as_fast_and_small(larger, option):
                continue
            yield option
            for sequences in fewer:
                yield self._option(length, flags, batch, sequences)
            larger = option

    @cached_property
    def _lengths(self) -> tuple[int, ...]:
        found = tuple(length for length in self._contexts if not self._serious(length))
        return ladders.ends(found) if self.few else found

    def _serious(self, length: int) -> Fault | None:
        """Return the first serious fault that is known of a context, where those are to be avoided."""
        candidate = self.candidate
        if not self.avoid or not candidate.serious_faults:
            return None
        case = Case(
            version=candidate.place.profile.version,
            gpu=candidate.place.gpu,
            architecture=candidate.architecture,
            quantization=candidate.quantization,
            flags=replace(self._flags(length), kv_cache_memory_bytes=0),
            nodes=candidate.nodes,
            asked=self.role.settings.asked,
        )
        return next((fault for fault in candidate.serious_faults if fault.settings.hold(case)), None)

    @cached_property
    def _contexts(self) -> tuple[int, ...]:
        return ladders.contexts(self.role.context_min, self.role.context_wish, self.candidate.context_limit)

    def _flags(self, length: int) -> ServeFlags:
        """Return the engine's own flags at a context and the most sequences, or as many as its batch has tokens for.

        The engine refuses more sequences than tokens of a batch. Sequences beyond the least are only wished for, so
        they stop at the batch here; ``_batches`` has a larger one for them.
        """
        if length not in self._known_flags:
            flags = default_flags(
                self.candidate.place.profile,
                self.candidate.place.gpu,
                self.candidate.architecture,
                max_model_len=length,
                max_num_seqs=self.load.most,
                kv_cache_dtype=self.candidate.kv_cache_dtype,
                **pinned_flags(self.candidate.layout, self.role.settings),
            )
            batch, most = flags.max_num_batched_tokens, self.load.most
            if batch < max(most, least := self._least_batch(flags)):
                batch = max(batch, least)
                flags = replace(flags, max_num_batched_tokens=batch, max_num_seqs=min(most, batch))
            self._known_flags[length] = flags
        return self._known_flags[length]

    @cached_property
    def _known_flags(self) -> dict[int, ServeFlags]:
        return {}

    def _batches(self, flags: ServeFlags) -> tuple[int, ...]:
        """Return the batches to try, descending: one that holds a token of every sequence, and the engine's own."""
        own = ladders.batches(flags.max_num_batched_tokens, self._least_batch(flags))
        if self.halves:
            some = tuple(batch for half, batch in enumerate(own) if half in self.halves) or own[-1:]
            if some[0] < own[0]:
                return some
            own = some
        elif self.few:
            own = ladders.ends(own)
        return own if self.load.most <= own[0] else (self.load.most, *own)

    def _least_batch(self, flags: ServeFlags) -> int:
        """Return the smallest batch to try: a token of each sequence, where it must a whole image or a whole prompt."""
        smallest = min(ladders.SMALLEST_BATCH, flags.max_num_batched_tokens)
        item = whole_item(self.candidate.architecture, flags, self.candidate.place.profile)
        return max(self.load.least, item, flags.max_model_len if self.candidate.whole_prompts else smallest)

    def _limits(self, batch: int) -> tuple[int, ...]:
        return ladders.sequence_limits(self.load.least, min(self.load.most, batch))

    def _figure(self, length: int) -> int | None:
        """Return what candidates are compared by; without the KV cache where nobody published what it costs."""
        return self.measure.figure(self.figures.compared(*self._judged(length)))

    def _accuracy(self, length: int) -> Accuracy:
        return self.figures.of(*self._judged(length))

    def _others(self, length: int) -> tuple[tuple[Role, Accuracy], ...]:
        """Return the further roles that the servers do, with their accuracies."""
        return self.figures.others(*self._judged(length))

    def _judged(self, length: int) -> tuple[Model, Variant, str, int]:
        """Return what decides an accuracy: the checkpoint, what its KV cache is kept in, and the context."""
        candidate = self.candidate
        return candidate.model, candidate.variant, candidate.effective_cache, length

    def _inaccurate(self, length: int) -> Rejection | None:
        """Return why the accuracy is not enough: unknown where others are known, or below a floor of the role."""
        accuracy = self._accuracy(length)
        if self._figure(length) is None:
            unscored = self.measure.kind == "score" and accuracy.recovery_median is not None
            detail = accuracy.scale if unscored else self.candidate.variant.scheme
            return self.candidate.rejected(self.role, "unscored" if unscored else "unknown", detail=detail)
        for reason, floor, found in self.figures.floors(*self._judged(length)):
            if found is None or found < floor:
                detail = "" if found is not None else "unknown"
                return self.candidate.rejected(self.role, reason, floor, found or 0, detail)
        return None

    def _engine_refusal(self, length: int) -> Rejection | None:
        text = self._refused(self._flags(length))
        return self.candidate.rejected(self.role, "capability", detail=text) if text else None

    def _refused(self, flags: ServeFlags) -> str | None:
        """Return why the engine would not start a server with these flags."""
        candidate, place = self.candidate, self.candidate.place
        server = Server(architecture=candidate.architecture, quantization=candidate.quantization, flags=flags)
        found = server_refusal(server, self.role.settings, place.profile, place.gpu)
        return str(found) if found else None

    def _option(self, length: int, defaults: ServeFlags, batch: int, sequences: int) -> Option:
        candidate, place, load = self.candidate, self.candidate.place, self.load
        server = candidate.server(replace(defaults, max_num_batched_tokens=batch, max_num_seqs=sequences))
        needed = self._needed(server.flags)
        pace = self._pace_of(server.flags, defaults.max_num_batched_tokens)
        return Option(
            role=self.role.name,
            pool=place.pool,
            model=candidate.model,
            variant=candidate.variant,
            server=server,
            nodes=candidate.nodes,
            replicas=load.replicas,
            request_tokens=self.role.request_tokens or length,
            sequences_min=load.least,
            sequences_max=sequences,
            accuracy=self._accuracy(length),
            others=self._others(length) if self.role.parts else (),
            demand=needed,
            least_bytes=needed.footprint(load.least),
            worth=self._worth(length, length, batch, defaults.max_num_batched_tokens, pace),
            asleep=residue(server, place.gpu, place.profile, self.role.sleeps),
        )

    def _needed(self, flags: ServeFlags) -> Demand:
        candidate, place = self.candidate, self.candidate.place
        return demand_of(
            Same(candidate.architecture),
            Same(candidate.quantization),
            flags,
            Same(place.gpu),
            Same(place.profile),
            self.role.request_tokens or flags.max_model_len,
        )

    def _best_pace(self, lengths: Sequence[int]) -> Pace:
        """Return what the pace with the largest batch, and so with any, exceeds at none of some contexts."""
        if self.pacing is None:
            return NO_PACE
        found = []
        for count in ends(self.load):
            one = replace(self, load=replace(self.load, least=count, most=count))
            for flags in map(one._flags, lengths):
                batch = one._batches(flags)[0]
                found.append(one._pace_of(replace(flags, max_num_batched_tokens=batch, max_num_seqs=count), batch))
        return best_of(found)

    def _pace_of(self, flags: ServeFlags, batch: int) -> Pace:
        """Return the pace of the load's servers with these flags, where the engine's own batch has so many tokens."""
        if self.pacing is None:
            return NO_PACE
        key = decisive(flags, self.role), batch
        if key not in self.paces:
            server, place = self.candidate.server(key[0]), self.candidate.place
            self.paces[key] = self.pacing.pace(self.role, server, place, 1, batch)
        return times(self.paces[key], self.load.replicas)

    def _worth(self, accurate_at: int, length: int, batch: int, default_batch: int, pace: Pace) -> Worth:
        """Return the worth of a context and a batch, with the accuracy of a context."""
        figure = self._figure(accurate_at) or 0
        load = self.load
        base, each = load.served_base, load.served
        found = worth(self.role, figure, self.measure, length, batch, default_batch, base, each)
        return found if pace is NO_PACE else replace(found, pace=pace)


class Box(Struct, frozen=True):
    """Options not told apart yet: what the best is worth, and what the smallest takes with so many sequences.

    They are those of all contexts and batches while ``length`` and ``batch`` are 0. ``sized`` has those of the context
    that were sized, by batch and limit of sequences.
    """

    rungs: Rungs
    worth: Worth
    least: int
    most: int
    size: Callable[[int], int]
    length: int = 0
    batch: int = 0
    sized: dict[tuple[int, int], Option] = field(default_factory=dict)

    def beaten(self, front: Front, size: Callable[[int], int] | None = None) -> bool:
        """Whether a front beats all of them, or would if each took ``size`` at least."""
        return front.beats(self.rungs.shape, self.worth, self.least, self.most, size or self.size, self.length)
