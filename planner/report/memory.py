"""Memory of every GPU: which term of which server takes how much, adding up to the GPU's total."""

from collections.abc import Iterator
from dataclasses import dataclass

from planner.explain.words import TERMS
from planner.plan import GPULedger, Plan

SYSTEM, OTHERS, TURNS, FREE = "left to the system", "in use by others", "taken in turns", "free"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Bytes that one term of a server takes on a GPU; without a ``server``, what no server of the plan takes.

    What is taken in turns is negative: it is in the ledgers of several servers and taken once.
    """

    server: str
    term: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GPUBar:
    """One GPU: the parts add up to ``total_bytes``."""

    label: str
    product: str
    total_bytes: int
    parts: tuple[Part, ...]


def gpu_bars(plan: Plan) -> tuple[GPUBar, ...]:
    """Return a bar for every GPU of a plan, in the plan's order."""
    several = len({gpu.node for gpu in plan.gpus}) > 1
    return tuple(
        GPUBar(
            label=f"{gpu.node} GPU {gpu.index}" if several else f"GPU {gpu.index}",
            product=gpu.product,
            total_bytes=gpu.total_bytes,
            parts=tuple(_parts(plan, gpu)),
        )
        for gpu in plan.gpus
    )


def _parts(plan: Plan, gpu: GPULedger) -> Iterator[Part]:
    for name in gpu.servers:
        ledger = plan.server(name).ledger
        for term, field in TERMS.items():
            yield Part(server=name, term=term, bytes=getattr(ledger, field))
    rest = {
        SYSTEM: gpu.system_bytes,
        OTHERS: gpu.memory_in_use_bytes,
        TURNS: -gpu.shared_bytes,
        FREE: gpu.free_bytes,
    }
    for term, value in rest.items():
        if value or term == FREE:
            yield Part(server="", term=term, bytes=value)
