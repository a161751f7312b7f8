"""What an inventory says: the GPUs of each machine that a plan may use, and those it may not, with the reason."""

from msgspec import Struct

from planner.facts.gpu import GPU


class Devices(Struct, frozen=True, kw_only=True):
    """GPUs of one kind on one machine: ``count`` are free for a plan, out of ``total``.

    ``called`` is what the source calls them. Device numbers begin at ``index``, and others hold
    ``memory_in_use_bytes`` of each. ``zone`` and ``taints`` are those of the machine. ``held`` says who has the others.
    """

    host: str
    gpu: GPU
    called: str
    count: int
    total: int
    index: int = 0
    memory_in_use_bytes: int = 0
    zone: str = ""
    taints: tuple[str, ...] = ()
    held: tuple[str, ...] = ()


class LeftOut(Struct, frozen=True, kw_only=True):
    """GPUs of one machine that no plan may use: how many, what they are called, why not, and who has them."""

    host: str
    called: str
    count: int
    reason: str
    held: tuple[str, ...] = ()


class Inventory(Struct, frozen=True, kw_only=True):
    """All that a source says: ``sources`` are the files and the commands that write such, ``remarks`` what to know.

    ``without_gpus`` machines have none at all. With ``dra`` NVIDIA's DRA driver gives out the GPUs. ``fleet`` is
    the name of the fleet whose own servers are among what runs there, whose GPUs count as free.
    """

    sources: tuple[str, ...]
    devices: tuple[Devices, ...]
    left_out: tuple[LeftOut, ...]
    remarks: tuple[str, ...] = ()
    without_gpus: int = 0
    dra: bool = False
    fleet: str = ""
