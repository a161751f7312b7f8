"""Memory of every GPU: which term of which server takes how much, adding up to the GPU's total."""

from collections.abc import Iterator

from msgspec import Struct

from planner.explain.words import TERMS
from planner.plan import GPULedger, Plan

SYSTEM, OTHERS, TURNS, FREE = "left to the system", "in use by others", "taken in turns", "free"


class Share(Struct, frozen=True, kw_only=True):
    """What one server takes of a GPU: bytes in the order of ``TERMS``, and their sum."""

    server: str
    terms: tuple[int, ...]
    total_bytes: int


class Rest(Struct, frozen=True, kw_only=True):
    """What no server of the plan takes. What is taken in turns is negative: several ledgers have it, one takes it."""

    what: str
    bytes: int


class GPUBar(Struct, frozen=True, kw_only=True):
    """One GPU: what servers take and the rest add up to ``total_bytes``."""

    label: str
    product: str
    total_bytes: int
    free_bytes: int
    shares: tuple[Share, ...]
    rest: tuple[Rest, ...]


def gpu_bars(plan: Plan) -> tuple[GPUBar, ...]:
    """Return a bar for every GPU of a plan, in the plan's order."""
    several = len({gpu.node for gpu in plan.gpus}) > 1
    shares = {
        server.name: Share(
            server=server.name,
            terms=tuple(getattr(server.ledger, field) for field in TERMS.values()),
            total_bytes=server.ledger.total_bytes,
        )
        for server in plan.servers
    }
    return tuple(
        GPUBar(
            label=f"{gpu.node} GPU {gpu.index}" if several else f"GPU {gpu.index}",
            product=gpu.product,
            total_bytes=gpu.total_bytes,
            free_bytes=gpu.free_bytes,
            shares=tuple(shares[name] for name in gpu.servers),
            rest=tuple(_rest(gpu)),
        )
        for gpu in plan.gpus
    )


def tightest(bars: tuple[GPUBar, ...]) -> GPUBar:
    """Return the GPU with the least free memory, the first of several."""
    return min(bars, key=lambda bar: bar.free_bytes)


def _rest(gpu: GPULedger) -> Iterator[Rest]:
    amounts = {
        SYSTEM: gpu.system_bytes,
        OTHERS: gpu.memory_in_use_bytes,
        TURNS: -gpu.shared_bytes,
        FREE: gpu.free_bytes,
    }
    for what, value in amounts.items():
        if value or what == FREE:
            yield Rest(what=what, bytes=value)
