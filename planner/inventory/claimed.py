"""What NVIDIA's DRA driver publishes in a cluster, less what claims have of it."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from msgspec import Struct

from planner.inventory.dra import Allocated, Device, Slice, whole_pools
from planner.inventory.objects import CLAIMS
from planner.inventory.offers import Offer
from planner.inventory.pods import Holder

_UNSEEN = f"pods have resource claims there, and no file says which devices those are: `{CLAIMS}` does"


class Stock(Struct, frozen=True):
    """Equal devices of a node, how many of them claims have, and which."""

    offer: Offer
    taken: int
    held: tuple[str, ...]


class Published:
    """The devices of all nodes; ``allocated`` are those that claims of others have."""

    def __init__(self, slices: Sequence[Slice], allocated: Sequence[Allocated], claims_given: bool) -> None:
        devices, self._partial = whole_pools(slices)
        self.nodes = {node: found for node, found in devices.items() if found}
        self._by_key = {one.key: one for one in allocated}
        self._claims_given = claims_given

    def stocks(self, node: str, held: Sequence[Holder]) -> Iterator[Stock]:
        """Yield the devices of a node, equal ones together; ``held`` are the pods of others there."""
        refusal = self._partial.get(node, "")
        if not self._claims_given and any(one.claims for one in held):
            refusal = refusal or _UNSEEN
        equal: dict[tuple[str, int, str], list[Device]] = defaultdict(list)
        devices = self.nodes.get(node, [])
        for device in devices:
            equal[device.called, device.driver_bytes, refusal or device.refusal].append(device)
        parts = {part for device in devices if device.key in self._by_key for part in device.counters}
        for (called, driver_bytes, reason), members in sorted(equal.items()):
            taken = [one for one in members if one.key in self._by_key or parts & one.counters]
            claims = Counter(_claim(self._by_key[one.key]) for one in taken if one.key in self._by_key)
            offer = Offer(
                resource="",
                called=called,
                has=len(members),
                gives=len(members),
                driver_bytes=driver_bytes,
                refusal=reason,
            )
            lines = tuple(f"{claim} holds {count} on {node}" for claim, count in sorted(claims.items()))
            yield Stock(offer, len(taken), lines)


def _claim(one: Allocated) -> str:
    return f"claim {one.claim}{f' of {one.pods[0]}' if one.pods else ''}"
