"""Memory of every GPU: which term of which server takes how much, adding up to the GPU's total."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from planner.explain.alike import alike, gpus_in_short, servers_in_short
from planner.explain.words import TERMS
from planner.plan import GPULedger, Plan, ServerPlan
from planner.report.servers import together

SYSTEM, OTHERS, TURNS, FREE = "left to the system", "in use by others", "taken in turns", "free"


class Share(Struct, frozen=True, kw_only=True):
    """What one server takes of a GPU: bytes in the order of ``TERMS``, and their sum.

    Of GPUs that are told of together ``server`` names the one of each.
    """

    server: str
    terms: tuple[int, ...]
    total_bytes: int


class Rest(Struct, frozen=True, kw_only=True):
    """What no server of the plan takes. What is taken in turns is negative: several ledgers have it, one takes it."""

    what: str
    bytes: int


class GPUBar(Struct, frozen=True, kw_only=True):
    """One GPU, or ``count`` GPUs that carry the same: what servers take and the rest add up to ``total_bytes``."""

    label: str
    count: int
    product: str
    total_bytes: int
    free_bytes: int
    shares: tuple[Share, ...]
    rest: tuple[Rest, ...]


def gpu_bars(plan: Plan) -> tuple[GPUBar, ...]:
    """Return a bar for every GPU of a plan, in the plan's order, in a large plan one for GPUs that carry the same."""
    servers = {server.name: server for server in plan.servers}
    return tuple(
        GPUBar(
            label=gpus_in_short(plan, gpus),
            count=len(gpus),
            product=gpus[0].product,
            total_bytes=gpus[0].total_bytes,
            free_bytes=gpus[0].free_bytes,
            shares=tuple(
                _share(servers[names[0]], names) for names in zip(*(gpu.servers for gpu in gpus), strict=True)
            ),
            rest=tuple(_rest(gpus[0])),
        )
        for gpus in (alike(plan) if together(plan) else [(gpu,) for gpu in plan.gpus])
    )


def _share(server: ServerPlan, names: Sequence[str]) -> Share:
    return Share(
        server=servers_in_short(names, server.role),
        terms=tuple(getattr(server.ledger, field) for field in TERMS.values()),
        total_bytes=server.ledger.total_bytes,
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
