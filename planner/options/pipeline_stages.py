"""Pipeline stages: how many pipeline stages are tried for which checkpoint, where a role leaves their number open.

A stage waits for the one before it, so no pool has more of them than it takes for one of the role's candidates to fit.
A checkpoint that is too large for a node is tried over several all the same, with the fewest stages with which it may
fit: what the fleet owns is compared, even where a smaller checkpoint fits one node.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct, field

from planner.options.layouts import Layout
from planner.options.offers import Named, Offer
from planner.options.place import Place


class Fewest(Struct):
    """What fitted with the numbers of stages tried so far, pool by pool."""

    named: Sequence[Named]
    _served: set[int] = field(default_factory=set)
    _small: set[tuple[int, str]] = field(default_factory=set)

    def open_at(self, where: Sequence[Place], stages: int | None) -> Iterator[tuple[Place, list[Named]]]:
        """Yield the places that are tried with so many stages, each with the variants; ``stages`` None is the first."""
        for place in where:
            if stages and not place.nodes.splits(stages):
                continue
            left = [one for one in self.named if not self._settled(place, one[1].repository)]
            if left:
                yield place, left

    def bounded(self, offer: Offer) -> None:
        """Note what an offer takes at least: whether its checkpoint may fit its place with so many stages."""
        place = offer.candidate.place
        if apart(offer.candidate.layout, offer.candidate.nodes):
            return
        if offer.least_bytes <= place.capacity_bytes:
            self._small.add((place.pool, offer.candidate.variant.repository))

    def fits(self, pool: int, layout: Layout, nodes: int) -> None:
        """Note that one of the candidates fits a pool, in a layout on so many nodes."""
        if not apart(layout, nodes):
            self._served.add(pool)

    def _settled(self, place: Place, repository: str) -> bool:
        if place.pool not in self._served:
            return False
        return place.nodes.nodes == 1 or (place.pool, repository) in self._small


def apart(layout: Layout, nodes: int) -> bool:
    """Whether ranks without stages share out experts over nodes; more stages are tried all the same."""
    return layout.data_parallel_size > 1 and nodes > 1 and layout.pipeline_parallel_size == 1
