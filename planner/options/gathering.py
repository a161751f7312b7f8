"""Gathering: the offers of a role that may fit, checkpoint by checkpoint, so that some need not be looked at.

Which numbers of pipeline stages are tried for a checkpoint depends on what fits (``pipeline_stages``): that is found
out first, with the checkpoints that are probably smallest.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from planner.options.candidates import allowed
from planner.options.ladders import STAGES
from planner.options.likely import probable_bytes
from planner.options.looks import OFFER, Looks
from planner.options.needed import Needed
from planner.options.offers import Named, Offer, Offers
from planner.options.option import Rejection
from planner.options.pipeline_stages import apart
from planner.options.place import Place
from planner.options.sizing import Boxes


class Gathering(Struct):
    """The offers of a role in some places; of checkpoints that are ``known`` to be needed alone, where any are.

    Options of others are beaten by options of these, or reach too little, and beat nothing. Where ``few`` options of
    each are enough, some steps of the ladders are left out. ``served`` has the fewest stages with which something fits
    a pool; ``faulty`` says that some of what was looked at was left out for a known fault, ``cut`` that some
    checkpoints were not looked at, because there were no ``looks`` left.
    """

    offers: Offers
    where: Sequence[Place]
    looks: Looks
    known: Needed | None = None
    few: bool = False
    boxes: Boxes = field(default_factory=Boxes)
    served: dict[int, int] = field(default_factory=dict)
    faulty: bool = False
    cut: bool = False
    _found: dict[tuple[int, str, int], list[Offer]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.faulty = self.known is not None and self.known.faulty
        if self.known and self.known.served is not None:
            self.served = dict(self.known.served)
        elif self.offers.role.pipeline_parallel_sizes is None:
            named = sorted(allowed(self.offers.role), key=lambda one: probable_bytes(*one))
            for stages in self._numbers:
                for place in self.where:
                    if place.pool not in self.served and any(self._fits(place, one, stages) for one in named):
                        self.served[place.pool] = stages

    @property
    def named(self) -> list[Named]:
        """The checkpoints that there are offers of."""
        needed = {name for _, name in self.known.named} if self.known else set()
        return [one for one in allowed(self.offers.role) if not self.known or one[1].repository in needed]

    def add(self, one: Named) -> list[Offer]:
        """Return the offers of a checkpoint, which are among the boxes from now on."""
        found = list(self._all(one))
        if self.few:
            found = [_few(offer) for offer in found]
        self.boxes.offers += found
        return found

    def needed(self, named: frozenset[tuple[int, str]]) -> Needed:
        """Return what is to be known next time, of which these checkpoints are needed in some pools."""
        return Needed(named, self.faulty, tuple(sorted(self.served.items())))

    @property
    def _numbers(self) -> tuple[int, ...]:
        return (1, *STAGES) if self.offers.role.pipeline_parallel_sizes is None else (1,)

    def _all(self, one: Named) -> Iterator[Offer]:
        name = one[1].repository
        for place in self.where:
            if self.known and (place.pool, name) not in self.known.named:
                continue
            if not self.offers.may_fit(one, place, place.nodes.gpu_count):
                continue
            small = False
            for stages in self._numbers:
                if self.served.get(place.pool, stages) < stages and (place.nodes.nodes == 1 or small):
                    break
                found = self._at(place, one, stages)
                small |= any(_small(offer) for offer in found)
                yield from found

    def _at(self, place: Place, one: Named, stages: int) -> list[Offer]:
        """Return the offers of a checkpoint in a place with so many stages, or as many as the role says."""
        key = place.pool, one[1].repository, stages
        if key not in self._found:
            self._found[key] = []
            if stages == 1 or place.nodes.splits(stages):
                if self.looks.spent:
                    self.cut = True
                    return []
                self.looks.take(OFFER)
                for found in self.offers.at([place], [one], None if stages == 1 else stages, all_sizes=False):
                    self.looks.take(OFFER)
                    if isinstance(found, Rejection):
                        self.faulty |= found.reason == "fault"
                    else:
                        self._found[key].append(found)
        return self._found[key]

    def _fits(self, place: Place, one: Named, stages: int) -> bool:
        offers = self._at(place, one, stages)
        return any(self.boxes.fits(offer) for offer in offers if not _apart(offer))


def _few(offer: Offer) -> Offer:
    """Return an offer of few options; where the number of servers is open the most of them, or a power of two."""
    if offer.rungs.role.replicas is not None:
        return replace(offer, rungs=replace(offer.rungs, few=True))
    most = max(load.replicas for load in offer.loads)
    loads = (load for load in offer.loads if load.replicas in (most, 1 << load.replicas.bit_length() - 1))
    return replace(offer, rungs=replace(offer.rungs, few=True), loads=tuple(loads))


def _apart(offer: Offer) -> bool:
    return apart(offer.candidate.layout, offer.candidate.nodes)


def _small(offer: Offer) -> bool:
    return not _apart(offer) and offer.least_bytes <= offer.candidate.place.capacity_bytes
