"""One server of a plan: what it serves, the limits it is started with, where it runs, what it takes and guarantees."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from planner.engine.settings import NOTHING, EngineSettings, serve_flags
from planner.facts.accuracy import Accuracy
from planner.memory.demand import Ledger
from planner.plan.faults import KnownFault
from planner.plan.turns import Asleep
from planner.speed.constants import Evidence
from planner.speed.forecast import Forecast, Range

_FLAGS = (
    "max_model_len", "max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization", "kv_cache_memory_bytes",
    "kv_cache_dtype", "dtype", "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size",
    "expert_parallel", "context_parallel_size",
)  # fmt: skip
"""Fields of a server that are fields of ``ServeFlags`` too."""


class GPUGroup(Struct, frozen=True, kw_only=True):
    """The GPUs of one node that hold one pipeline stage, or the data-parallel ranks of a server that are there."""

    node: str
    gpu_indices: tuple[int, ...]


class ServerSpeed(Struct, frozen=True, kw_only=True):
    """How fast a server is with all its requests running, each figure with the ends of its 80 % range.

    ``busy_permille`` of the time of its GPUs is asked for by the servers on them, 1000 when it is alone; above that the
    figures are a bound, and their fast end is that of a server whose neighbours are idle. ``grade`` says how far the
    evidence is (docs/speed.md): ``measured here`` is a load test of the user's own. ``reason`` says why nothing is
    said; the figures are then None.
    """

    busy_permille: int
    reason: str | None
    grade: Evidence | None
    tpot_us: Range | None
    ttft_us: Range | None
    output_millitokens_per_second: Range | None


class SharedRole(Struct, frozen=True, kw_only=True):
    """A role that a server does besides its own: its name, under which clients ask for it, its task, its accuracy."""

    name: str
    task: str
    accuracy: Accuracy


class ServerPlan(Struct, frozen=True, kw_only=True):
    """One server of the plan: what it serves, the limits it is started with, what that guarantees.

    ``repository`` is a Hugging Face id, or the folder when ``local``. ``kv_cache_dtype`` and ``dtype`` are spelled as
    the engine spells them, ``attention_backend`` names what it will run attention layers with (empty: not known).
    ``concurrency_request`` requests of ``request_tokens`` fit into the KV cache at once, and
    ``concurrency_full_context`` requests of ``max_model_len``; a server without a KV cache has both at
    ``max_num_seqs``. ``output_tokens`` of a request are its answer, 0 where the fleet does not say. The servers of a
    role are its replicas: equal but for name, ports and place.

    ``max_num_seqs`` and the limits beside it are those of each of ``data_parallel_size`` ranks, which have requests and
    a KV cache of ``kv_cache_tokens`` of their own; with ``expert_parallel`` all ranks share out whole experts.
    Each of ``context_parallel_size`` tensor-parallel ranks holds a part of the tokens of ``kv_cache_tokens``.

    ``gpu_indices`` of ``node`` hold the first pipeline stage and, when it is the only one, the whole model;
    ``later_stages`` hold the others in their order, either all on this node or each stage on a node of its own. Ranks
    of data parallelism are on ``gpu_indices`` too, or as many of them on each node, every one with an API of its own.
    ``ledger`` is that of the largest stage and is set aside on every GPU. A server on several nodes has a
    ``master_port``, on which its processes find each other at the first node; otherwise it is 0. ``hf_overrides`` is
    what the engine must change in the model's config, as JSON, and ``chat_template`` what its answers need; nothing for
    most. ``spread`` is ``node`` or ``gpu`` where no two replicas may be on one. ``settings`` are the pins of the role;
    ``shared`` are further roles that it does. ``unseen`` names assumed fields of the checkpoint's config; the ledger's
    margin covers the largest weights they allow. ``speed`` is None for a role whose request length is not known, or
    that generates nothing. ``known_faults`` are those of the engine version that this server meets.
    """

    name: str
    role: str
    task: str
    model: str
    repository: str
    revision: str
    local: bool
    download_bytes: int
    scheme: str
    dtype: str
    kv_cache_dtype: str
    attention_backend: str = ""
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    tensor_parallel_size: int
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    expert_parallel: bool = False
    context_parallel_size: int = 1
    node: str = ""
    gpu_indices: tuple[int, ...]
    later_stages: tuple[GPUGroup, ...] = ()
    port: int
    master_port: int = 0
    gpu_memory_utilization: float
    kv_cache_memory_bytes: int
    kv_cache_tokens: int
    request_tokens: int
    output_tokens: int = 0
    concurrency_request: int
    concurrency_full_context: int
    accuracy: Accuracy
    pooling: bool
    trust_remote_code: bool
    tool_parser: str
    reasoning_parser: str
    unseen: tuple[str, ...] = ()
    hf_overrides: str = ""
    chat_template: str = ""
    spread: str = ""
    settings: EngineSettings = NOTHING
    shared: tuple[SharedRole, ...] = ()
    speed: ServerSpeed | None = None
    known_faults: tuple[KnownFault, ...] = ()
    asleep: Asleep | None = None
    ledger: Ledger

    @property
    def requests(self) -> int:
        """The requests that the server runs at once, on all its data-parallel ranks."""
        return self.max_num_seqs * self.data_parallel_size

    @property
    def ranks(self) -> int:
        """The GPUs of the server."""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size

    @property
    def flags(self) -> dict[str, Any]:
        """The fields of ``ServeFlags`` that it is started with, its pins among them."""
        return {name: getattr(self, name) for name in _FLAGS} | serve_flags(self.settings)

    @property
    def shared_out(self) -> bool:
        """Whether there is more to say of how ranks share out the model than that all have a part of every layer."""
        parts = self.pipeline_parallel_size * self.data_parallel_size * self.context_parallel_size
        return parts > 1 or self.expert_parallel

    @property
    def names(self) -> tuple[str, ...]:
        """The model names that clients may ask for."""
        return (self.role, *(one.name for one in self.shared))

    @property
    def groups(self) -> tuple[GPUGroup, ...]:
        """The GPUs of every pipeline stage, in the order of the stages, or of the ranks on every node."""
        return (GPUGroup(node=self.node, gpu_indices=self.gpu_indices), *self.later_stages)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes the server runs on, the one that answers requests first."""
        return tuple(dict.fromkeys(group.node for group in self.groups))

    @property
    def answering_nodes(self) -> tuple[str, ...]:
        """The nodes with an API: the first, or with data-parallel ranks every one."""
        return self.nodes if self.data_parallel_size > 1 else self.nodes[:1]

    @property
    def gpus(self) -> tuple[tuple[str, int], ...]:
        """Every GPU of the server as its node and device number, stage by stage."""
        return tuple((group.node, index) for group in self.groups for index in group.gpu_indices)


def server_speed(found: Forecast | None, busy_permille: int) -> ServerSpeed | None:
    """Return a forecast as a plan holds it."""
    if found is None:
        return None
    return ServerSpeed(
        busy_permille=busy_permille,
        reason=found.reason,
        grade=found.grade,
        tpot_us=found.tpot_us,
        ttft_us=found.ttft_us,
        output_millitokens_per_second=found.output_millitokens_per_second,
    )


def busy_permille(server: ServerPlan, servers: Sequence[ServerPlan], roles: Mapping[str, int]) -> int:
    """Return how many thousandths of the time of the fullest of a server's GPUs all servers on it may ask for.

    ``roles`` says in what part of its time a server of a role works; it is 1000 for this one.
    """
    asked: Counter[tuple[str, int]] = Counter()
    for other in servers:
        if other.name != server.name:
            asked.update(dict.fromkeys(other.gpus, roles[other.role]))
    return 1000 + max(asked[gpu] for gpu in server.gpus)
