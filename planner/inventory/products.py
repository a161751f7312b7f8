"""What an inventory calls a GPU -> the catalog's, or the reason why it is not known which one that is."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct, field

from planner.catalog import Catalog
from planner.catalog.names import plain, words_left_out
from planner.errors import UnknownName
from planner.facts.gpu import GPU
from planner.units import MIB

_CLOSE_ENOUGH = 0.03
"""How much the total that a driver reports may differ between cards of one name: ECC and versions of the driver."""


class Unclear(Struct, frozen=True):
    """Why it is not known which GPU a name means."""

    reason: str


class Products(Struct):
    """Names of GPUs; ``said`` is what the user says that a name means, by the name."""

    catalog: Catalog
    said: Mapping[str, GPU] = field(default_factory=dict)
    _known: dict[tuple[str, int], GPU | Unclear] = field(default_factory=dict)

    def find(self, name: str, driver_bytes: int = 0) -> GPU | Unclear:
        """Return the GPU of a name; ``driver_bytes`` is its total memory as the driver says it, 0 if nobody says."""
        key = name, driver_bytes
        if key not in self._known:
            self._known[key] = self._found(name, driver_bytes)
        return self._known[key]

    def short(
        self, name: str, shortened: Callable[[str], str | None] | None = None, others: Sequence[str] = ()
    ) -> GPU | Unclear:
        """Return the one GPU that a short name can mean, which leaves out what tells cards apart.

        ``shortened`` makes such a name of what a driver calls a card; without it every word of the name must be one
        of the card's. ``others`` are products that the catalog does not have.
        """
        said = self._told(name)
        if said:
            return _plannable(said)
        if shortened is None:
            return self._one_of(name, list(self._meant(name)))
        whole = [gpu for gpu in self.catalog.gpus if not gpu.parent]
        short = [gpu for gpu in whole if name in map(shortened, (gpu.product, *gpu.aliases))]
        return self._one_of(name, short, [product for product in others if shortened(product) == name])

    def _one_of(self, name: str, candidates: Sequence[GPU], others: Sequence[str] = ()) -> GPU | Unclear:
        if not candidates:
            return Unclear(_unknown(self.catalog, name))
        meant = [*(gpu.name for gpu in candidates), *others]
        if len(meant) > 1:
            return Unclear(f"the name may mean {' or '.join(meant)}; --gpu-is says which")
        return _plannable(candidates[0])

    def _told(self, name: str) -> GPU | None:
        return next((gpu for known, gpu in self.said.items() if plain(known) == plain(name)), None)

    def _found(self, name: str, driver_bytes: int) -> GPU | Unclear:
        if said := self._told(name):
            return _plannable(said)
        by_product = [gpu for gpu in self.catalog.gpus if plain(gpu.product) == plain(name)]
        candidates = by_product or list(self._meant(name))
        fitting = [gpu for gpu in candidates if _agrees(gpu, driver_bytes)]
        if candidates and not fitting:
            sizes = ", ".join(f"{gpu.name} has {(gpu.driver_memory_bytes or 0) // MIB}" for gpu in candidates)
            return Unclear(f"it is said to have {driver_bytes // MIB} MiB: {sizes}")
        if not by_product:
            return self._one_of(name, fitting)
        # Cards that the driver itself calls the same are planned as the one with the least memory.
        return _plannable(min(fitting, key=lambda gpu: gpu.memory_bytes))

    def _meant(self, name: str) -> Iterator[GPU]:
        """Yield every whole card that a short name can mean, or the slices that it names in full."""
        for gpu in self.catalog.gpus:
            names = (gpu.name, *gpu.aliases)
            if gpu.parent:
                if plain(name) == plain(gpu.name):
                    yield gpu
            elif any(words_left_out(name, known, gpu.memory_bytes) is not None for known in (*names, gpu.product)):
                yield gpu


def _plannable(gpu: GPU) -> GPU | Unclear:
    return Unclear(f"no plan is made for {gpu.name}: {gpu.refusal}") if gpu.refusal else gpu


def _agrees(gpu: GPU, driver_bytes: int) -> bool:
    """Whether a card can have so much memory; an integrated one reports the machine's, and slices are not listed."""
    if not driver_bytes or gpu.integrated or gpu.driver_memory_bytes is None:
        return True
    return abs(gpu.driver_memory_bytes - driver_bytes) <= _CLOSE_ENOUGH * gpu.driver_memory_bytes


def _unknown(catalog: Catalog, name: str) -> str:
    try:
        catalog.gpu(name)
    except UnknownName as error:
        near = f"; near it are {', '.join(error.nearest)}" if error.nearest else ""
        return f"the catalog has no such GPU{near}"
    return "the catalog has no GPU that the driver calls so"
