"""Offers: candidates long and accurate enough for a role, with the loads their servers may have, not sized yet.

What a candidate takes at least and is worth at most is known before any of its rungs is sized.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from msgspec import Struct
from msgspec.structs import replace

from planner.catalog import Catalog
from planner.catalog.least_weights import known_least_bytes
from planner.catalog.speed_tables import SpeedTables
from planner.facts.variant import Model, Variant
from planner.fleet import Role
from planner.memory.demand import Demand
from planner.options import replicas
from planner.options.candidates import Candidate, candidates
from planner.options.figures import RoleFigures
from planner.options.option import Option, Rejection
from planner.options.paces import Pacing, settled
from planner.options.place import Place
from planner.options.rungs import Box, Rungs
from planner.options.speed import Unmet, fast_enough
from planner.options.worth import Measure
from planner.units import ceil_div

Named = tuple[Model, Variant]


class Offer(Struct, frozen=True):
    """A candidate with its ``loads``, and its rungs under one that is smaller than all of them.

    No rung takes less than ``least_bytes``.
    """

    rungs: Rungs
    loads: tuple[replicas.Load, ...]
    least_bytes: int

    @property
    def candidate(self) -> Candidate:
        """The candidate."""
        return self.rungs.candidate

    @property
    def at_loads(self) -> Iterator[Rungs]:
        """The rungs under each load, with one number of sequences where speed counts."""
        return self.with_servers()

    def with_servers(self, count: int | None = None) -> Iterator[Rungs]:
        """Yield the same for loads of so many servers alone, or of any number."""
        some = [load for load in self.loads if count in (None, load.replicas)]
        loads = settled(some) if self.rungs.pacing else some
        return (replace(self.rungs, load=load) for load in loads)

    def least(self) -> Demand | None:
        """Return what each option takes at least; None where the engine starts none or none fits empty GPUs."""
        capacity = self.candidate.place.capacity_bytes
        if self.least_bytes > capacity or self.rungs.engine_refusal():
            return None
        found = self.rungs.least_at(self.rungs.role.context_min)
        return None if found.footprint(self.rungs.load.least) > capacity else found

    def boxes(self) -> Iterator[Box]:
        """Yield the options of each load as a box."""
        for load in self.loads:
            yield from replace(self.rungs, load=load).boxes(self._least)

    def _least(self, sequences: int) -> int:
        return self.least_bytes

    def smallest(self) -> Iterator[Option]:
        """Yield the smallest option of each number of servers, of whose worth only what is alike for all is right.

        Those with as many sequences each and the same batch take the same.
        """
        known: dict[tuple[int, int], Option] = {}
        for count, loads in groupby(self.loads, lambda load: load.replicas):
            rungs = replace(self.rungs, load=min(loads, key=lambda load: load.least))
            key = rungs.load.least, rungs.least_batch
            if key not in known:
                known[key] = rungs.lowest()
            yield replace(known[key], replicas=count)

    def options(self, servers: int) -> Iterator[Option]:
        """Yield all options of so many servers, up to the first context that does not fit, or the smallest."""
        fits = self.least()
        for rungs in self.with_servers(servers):
            if fits:
                yield from rungs.fitting()
            else:
                yield rungs.lowest()


class Offers(Struct, frozen=True):
    """Makes the offers of one role, all of whose candidates are compared by the same figures.

    With ``avoid`` there is none with a serious known fault of the engine, and ``pacing`` counts their speed.
    """

    role: Role
    figures: RoleFigures
    best: Measure
    avoid: bool
    tables: SpeedTables
    pacing: Pacing | None = None

    @classmethod
    def of(cls, role: Role, catalog: Catalog, *, avoid: bool = False, pacing: Pacing | None = None) -> "Offers":
        """Return what makes the offers of a role."""
        figures = RoleFigures(role, catalog)
        return cls(role, figures, figures.measure, avoid, catalog.speed, pacing)

    def may_fit(self, named: Named, place: Place, ranks: int) -> bool:
        """Whether a server on so many GPUs of a place may have room, as far as that is known without its config."""
        return least_of_each(self.role, named, ranks) <= place.capacity_bytes

    def at(
        self, where: Sequence[Place], named: Sequence[Named], stages: int | None = None, *, all_sizes: bool = True
    ) -> Iterator[Offer | Rejection]:
        """Yield the offers of some variants in some places, and why others are none.

        They have so many pipeline ``stages``, or as many as the role says, or a single one. Without ``all_sizes``
        nothing is said of what is known to be too large.
        """
        role = self.role if stages is None else replace(self.role, pipeline_parallel_sizes=(stages,))
        for candidate in candidates(role, where, named):
            if isinstance(candidate, Rejection):
                yield candidate
                continue
            if not all_sizes and not self.may_fit(candidate.named, candidate.place, candidate.layout.ranks):
                continue
            ranks = candidate.layout.data_parallel_size
            counts = replicas.counts(self.role, candidate.place, candidate.layout)
            least = _narrowest(self.role, counts[-1] * ranks)
            rungs = Rungs(self.role, candidate, least, self.figures, self.best, self.avoid, self.pacing)
            if rejection := rungs.refusal() or rungs.fault():
                yield rejection
                continue
            loads = replicas.all_loads(self.role, counts, ranks)
            if self.role.wants_speed:
                yield from self._fast(rungs, loads)
            else:
                yield Offer(rungs, loads, rungs.least_bytes())

    def _fast(self, rungs: Rungs, loads: Sequence[replicas.Load]) -> Iterator[Offer | Rejection]:
        """Yield an offer for the batches with which the same loads are fast enough, or what the first of them lacks."""
        found: dict[tuple[replicas.Load, ...], list[int]] = {}
        candidate, lacking, servers = rungs.candidate, list[Unmet](), rungs.servers()
        batch = servers[0].flags.max_num_batched_tokens
        for half, server in enumerate(servers):
            own, unmet = fast_enough(self.role, server, candidate.place, self.tables, loads, batch, candidate.nodes)
            if unmet:
                lacking.append(unmet)
            else:
                found.setdefault(tuple(own), []).append(half)
        for some, halves in found.items():
            yield Offer(replace(rungs, halves=tuple(halves)), some, rungs.least_bytes())
        if not found:
            unmet = lacking[0]
            yield candidate.rejected(self.role, unmet.what, unmet.wanted, unmet.found, unmet.detail)


def least_of_each(role: Role, named: Named, ranks: int) -> int:
    """Return what each of so many GPUs of a server holds of a checkpoint at least; 0 where that is not known.

    What a role sets itself may leave parts of a checkpoint out, or keep them in the machine's memory.
    """
    return 0 if role.settings else known_least_bytes(*named) // ranks


def _narrowest(role: Role, ranks: int) -> replicas.Load:
    """Return a load of no more sequences than any rank has, with so many of them at most."""
    least = 1 if role.across_pools else ceil_div(role.concurrency_min, ranks)
    return replicas.Load(replicas=1, least=least, most=least, served_base=0, served=0)
