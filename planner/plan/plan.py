"""Plan: frozen facts about a fleet that fits, down to the byte; what ``plan.yaml`` holds.

Sizes are bytes, contexts tokens, accuracies hundredths of a percent. Every server is one engine process; the ledgers of
the servers on a GPU, the memory others use and what is free add up to the GPU's total.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.engine.settings import NOTHING, EngineSettings
from planner.facts.accuracy import Accuracy
from planner.memory.demand import Ledger
from planner.options.worth import COST_PER_MTOK
from planner.plan.faults import KnownFault
from planner.plan.lock import Lock
from planner.speed.constants import Grade
from planner.speed.forecast import Forecast, Range

__all__ = [
    "Binding",
    "Cost",
    "FrontierPoint",
    "GPUGroup",
    "GPULedger",
    "GPUPrice",
    "KnownFault",
    "Ledger",
    "Lock",
    "Money",
    "Plan",
    "Proof",
    "RunnerUp",
    "RunnerUpServer",
    "ServerPlan",
    "ServerSpeed",
    "Stage",
    "TokenPrice",
    "busy_permille",
    "server_speed",
]

COST, GPUS_IN_USE = "cost", "GPUs in use"
"""Two names of one stage: the price of the GPUs in use, or their number."""

GPU_HOURS = "GPU hours per million tokens"
"""What a stage that counts money for tokens is called where no prices are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GPUGroup:
    """The GPUs of one node that hold one pipeline stage, or the data-parallel ranks of a server that are there."""

    node: str
    gpu_indices: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpeed:
    """How fast a server is with all its requests running, each figure with the ends of its 80 % range.

    ``busy_permille`` of the time of its GPUs is asked for by the servers on them, 1000 when it is alone; above that the
    figures are a bound, and their fast end is that of a server whose neighbours are idle. ``grade`` says how far the
    evidence is (docs/speed.md), ``reason`` why nothing is said; the figures are then None.
    """

    busy_permille: int
    reason: str | None
    grade: Grade | None
    tpot_us: Range | None
    ttft_us: Range | None
    output_millitokens_per_second: Range | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlan:
    """One server of the plan: what it serves, the limits it is started with, what that guarantees.

    ``repository`` is a Hugging Face id, or the folder when ``local``. ``kv_cache_dtype`` and ``dtype`` are spelled as
    the engine spells them, ``attention_backend`` names what it will run attention layers with (empty: not known).
    ``concurrency_request`` requests of ``request_tokens`` fit into the KV cache at once, and
    ``concurrency_full_context`` requests of ``max_model_len``; a server without a KV cache has both at
    ``max_num_seqs``. ``output_tokens`` of a request are its answer, 0 where the fleet does not say. The servers of a
    role are its replicas: equal but for name, ports and place.

    ``max_num_seqs`` and the limits beside it are those of each of ``data_parallel_size`` ranks, which have requests and
    a KV cache of ``kv_cache_tokens`` of their own; with ``expert_parallel`` all ranks share out whole experts.

    ``gpu_indices`` of ``node`` hold the first pipeline stage and, when it is the only one, the whole model;
    ``later_stages`` hold the others in their order, either all on this node or each stage on a node of its own. Ranks
    of data parallelism are on ``gpu_indices`` too, or as many of them on each node, every one with an API of its own.
    ``ledger`` is that of the largest stage and is set aside on every GPU. A server on several nodes has a
    ``master_port``, on which its processes find each other at the first node; otherwise it is 0. ``hf_overrides`` is
    what the engine must change in the model's config, as JSON, nothing for most. ``settings`` are the pins of the role.
    ``unseen`` names assumed fields of the
    checkpoint's config; the ledger's margin covers the largest weights they allow. ``speed`` is None for a role whose
    request length is not known, or that generates nothing. ``known_faults`` are those of the engine version that this
    server meets.
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
    settings: EngineSettings = NOTHING
    speed: ServerSpeed | None = None
    known_faults: tuple[KnownFault, ...] = ()
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
    def shared_out(self) -> bool:
        """Whether there is more to say of how ranks share out the model than that all have a part of every layer."""
        return self.pipeline_parallel_size * self.data_parallel_size > 1 or self.expert_parallel

    @property
    def groups(self) -> tuple[GPUGroup, ...]:
        """The GPUs of every pipeline stage, in the order of the stages, or of the ranks on every node."""
        return (GPUGroup(node=self.node, gpu_indices=self.gpu_indices), *self.later_stages)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes the server runs on, the one that answers requests first."""
        return tuple(dict.fromkeys(group.node for group in self.groups))

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


@dataclass(frozen=True, slots=True, kw_only=True)
class GPULedger:
    """One GPU of a node: its total is what others use, plus the ledgers of its servers, plus what is free.

    On a GPU that shares its memory with the operating system, ``system_bytes`` are that one's part of the total.
    """

    pool: str = ""
    node: str = ""
    index: int
    gpu: str
    product: str
    total_bytes: int
    system_bytes: int = 0
    memory_in_use_bytes: int
    servers: tuple[str, ...]
    free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GPUPrice:
    """What a GPU of one pool costs for an hour, in millionths of a US dollar, and who says so."""

    pool: str
    microdollars_per_gpu_hour: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrice:
    """Millionths of a US dollar for a million ``output`` tokens, and for a million of prompt and answer together."""

    output: Range
    all_tokens: Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """What the GPUs in use cost for an hour, in millionths of a US dollar, and who says so; and what tokens then cost.

    ``full_load`` is with all requests running, ``planned_load`` at the rates that the roles state; None if one states
    none.
    """

    microdollars_per_hour: int
    sources: tuple[str, ...]
    full_load: TokenPrice
    planned_load: TokenPrice | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One thing that was maximised, with all stages before it held at their values.

    ``bound`` is what no plan can exceed; the stage is proven when it equals the value. Units are those of
    docs/objective.md.
    """

    name: str
    value: int
    bound: int
    proven: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was proven and how to repeat it: the same solver, seed and budget on the same model give the same plan.

    It cannot be repeated when the search was ``interrupted`` before its end.
    """

    proven: bool
    stages: tuple[Stage, ...]
    solver: str
    solver_version: str
    seed: int
    budget: int
    model_sha256: str
    interrupted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a role would have less of: ``what`` is ``concurrency``, ``context``, ``batched tokens`` or ``recovery``."""

    what: str
    now: int
    then: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Why a server has no more of something: the next step up and what stops it.

    ``what`` is ``concurrency``, ``context``, ``batched tokens`` or ``variant``; ``now`` and ``next`` are requests,
    tokens, or checkpoints. ``limit`` is

        memory     the step takes ``needed_bytes`` more on its GPU, of which ``free_bytes`` are there
        objective  the step fits, but is worth less than its ``cost``
        wish       the fleet asks for no more
        model      the longest context of the model
        engine     the engine's own default
        speed      with more, what the role requires of its speed would not be sure
        best       no allowed variant is better
    """

    role: str
    what: str
    now: str
    next: str
    limit: str
    needed_bytes: int
    free_bytes: int
    cost: Cost | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerUpServer:
    """One server of the best plan with another combination of variants."""

    role: str
    repository: str
    scheme: str
    kv_cache_dtype: str
    max_model_len: int
    max_num_seqs: int
    data_parallel_size: int = 1
    accuracy: Accuracy

    @property
    def requests(self) -> int:
        """The requests that the server runs at once, on all its data-parallel ranks."""
        return self.max_num_seqs * self.data_parallel_size


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerUp:
    """The best plan that uses another combination of variants, and its value in every stage."""

    servers: tuple[RunnerUpServer, ...]
    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontierPoint:
    """Which point of a Pareto frontier a plan is: the ``number`` from 1, from the least of axis ``x`` to the most.

    The plan is best in the first thing of its objective among all that have at least ``floor`` of the second, in the
    unit of docs/objective.md; None is no floor.
    """

    x: str
    y: str
    number: int
    floor: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The best plan found for a fleet.

    ``servers`` are in order of their names; ``start_order`` names them in the order in which they must be started, one
    after another. ``engine_known`` is false when the memory profile is that of a neighbouring version. ``left_out`` are
    optional roles that are not served. ``lock`` says what it was made from. ``prices`` are those that cost was counted
    in, by pool; none when it was counted in GPUs, or was no part of the objective.
    ``money`` is None where a price is not known, or a speed. ``point`` is None but on a Pareto frontier.
    """

    fleet: str
    engine: str
    engine_version: str
    engine_known: bool
    objective: tuple[str, ...]
    point: FrontierPoint | None = None
    servers: tuple[ServerPlan, ...]
    start_order: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    gpus: tuple[GPULedger, ...]
    prices: tuple[GPUPrice, ...] = ()
    money: Money | None = None
    proof: Proof
    lock: Lock
    bindings: tuple[Binding, ...]
    runner_up: RunnerUp | None

    def title(self, stage: str) -> str:
        """Return the name of a stage, which tells its unit: where no prices are known, cost is ``GPUs in use``."""
        return stage if self.prices else {COST: GPUS_IN_USE, COST_PER_MTOK: GPU_HOURS}.get(stage, stage)

    def server(self, name: str) -> ServerPlan:
        """Return the server of this name.

        Raises:
            KeyError: the plan has no such server.
        """
        return {server.name: server for server in self.servers}[name]
