"""Plan: frozen facts about a fleet that fits, down to the byte; what ``plan.yaml`` holds.

Sizes are bytes, contexts tokens, accuracies hundredths of a percent. Every server is one engine process; the ledgers of
the servers on a GPU, the memory others use and what is free add up to the GPU's total.
"""

from typing import Literal

from msgspec import Struct

from planner.facts.accuracy import Accuracy
from planner.fleet import USUAL, Cluster, TimeShare
from planner.options.worth import COST_PER_MTOK
from planner.plan.lock import Lock
from planner.plan.lookup import lookup
from planner.plan.money import HourlyPrice, Money
from planner.plan.server import ServerPlan

COST, GPUS_IN_USE = "cost", "GPUs in use"
"""Two names of one stage: the price of the GPUs in use, or their number."""

GPU_HOURS = "GPU hours per million tokens"
"""What a stage that counts money for tokens is called where no prices are known."""


class GPULedger(Struct, frozen=True, kw_only=True):
    """One GPU of a node: its total is what others use, plus the ledgers of its servers, plus what is free.

    On a GPU that shares its memory with the operating system, ``system_bytes`` are that one's part of the total. Where
    servers take turns, ``shared_bytes`` are counted in the ledgers of several of them and taken once: the largest set
    that is awake, with what the others keep asleep, takes so much less than all together.
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
    shared_bytes: int = 0
    free_bytes: int


class GPUPrice(Struct, frozen=True, kw_only=True):
    """What a GPU of one pool costs for an hour, in millionths of a US dollar, and who says so.

    Where nodes are rented whole it is what one of them costs, and a GPU has no price.
    """

    pool: str
    microdollars_per_gpu_hour: int = 0
    microdollars_per_node_hour: int = 0
    source: str


class Stage(Struct, frozen=True, kw_only=True):
    """One thing that was maximised, with all stages before it held at their values.

    ``bound`` is what no plan can exceed; the stage is proven when it equals the value. Units are those of
    docs/objective.md.
    """

    name: str
    value: int
    bound: int
    proven: bool


class Unsearched(Struct, frozen=True, kw_only=True):
    """What the budget did not suffice to look at: ``options``, the ``next best`` or ``close calls`` of a ``role``.

    ``keys`` are those of the role that are open; each of them, when it is set, leaves less to look at.
    """

    what: Literal["options", "next best", "close calls"]
    role: str
    keys: tuple[str, ...]


class Proof(Struct, frozen=True, kw_only=True):
    """What was proven and how to repeat it: the same solver, seed and budget on the same model give the same plan.

    It cannot be repeated when the search was ``interrupted`` before its end. No plan is proven best beside options that
    are ``unsearched``.
    """

    proven: bool
    stages: tuple[Stage, ...]
    solver: str
    solver_version: str
    seed: int
    budget: int
    model_sha256: str
    interrupted: bool = False
    unsearched: tuple[Unsearched, ...] = ()


class Cost(Struct, frozen=True, kw_only=True):
    """What a role would have less of: ``what`` is ``concurrency``, ``context``, ``batched tokens`` or ``recovery``."""

    what: str
    now: int
    then: int


class Binding(Struct, frozen=True, kw_only=True):
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


class RunnerUpServer(Struct, frozen=True, kw_only=True):
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


class RunnerUp(Struct, frozen=True, kw_only=True):
    """The best plan that uses another combination of variants, and its value in every stage."""

    servers: tuple[RunnerUpServer, ...]
    stages: tuple[Stage, ...]


class CloseCall(Struct, frozen=True, kw_only=True):
    """Another model that a role's scores do not tell from the one chosen, in its best plan with all else kept.

    ``lead`` is by how much the chosen one scores higher on ``scale``, ``error`` what such a score may be off, both in
    hundredths of a point; ``requests`` are those of all servers of the role with the other model, whose checkpoint is
    ``repository``.
    """

    role: str
    repository: str
    scale: str
    lead: int
    error: int
    requests: int


class FrontierPoint(Struct, frozen=True, kw_only=True):
    """Which point of a Pareto frontier a plan is: the ``number`` from 1, from the least of axis ``x`` to the most.

    The plan is best in the first thing of its objective among all that have at least ``floor`` of the second, in the
    unit of docs/objective.md; None is no floor.
    """

    x: str
    y: str
    number: int
    floor: int | None


class Plan(Struct, frozen=True, kw_only=True):
    """The best plan found for a fleet.

    ``servers`` are in order of their names; ``start_order`` names them in the order in which they must be started, one
    after another. ``engine_known`` is false when the memory profile is that of a neighbouring version. ``left_out`` are
    optional roles that are not served. ``lock`` says what it was made from. ``prices`` are those that cost was counted
    in, by pool; none when it was counted in GPUs, or was no part of the objective. ``time_share`` are groups of roles
    that take turns, and ``awake_sets`` the largest sets of roles that may be awake together.
    ``price`` is None where one is not known, ``money`` also where a speed is not. ``point`` is None but on a Pareto
    frontier. ``cluster`` is what the fleet says of its cluster.
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
    price: HourlyPrice | None = None
    money: Money | None = None
    proof: Proof
    lock: Lock
    bindings: tuple[Binding, ...]
    runner_up: RunnerUp | None
    close_calls: tuple[CloseCall, ...] = ()
    time_share: tuple[TimeShare, ...] = ()
    awake_sets: tuple[tuple[str, ...], ...] = ()
    cluster: Cluster = USUAL

    @property
    def host_bytes(self) -> int:
        """What all servers that sleep keep of the machine's memory once each of them has slept."""
        return sum(server.asleep.host_bytes for server in self.servers if server.asleep)

    def by_pool(self, role: str) -> dict[str, list[ServerPlan]]:
        """Return the servers of a role by the pool they are in; those of one pool are alike."""
        pools = {(gpu.node, gpu.index): gpu.pool for gpu in self.gpus}
        found: dict[str, list[ServerPlan]] = {}
        for server in self.servers:
            if server.role == role:
                found.setdefault(pools.get(server.gpus[0], ""), []).append(server)
        return found

    @property
    def unlike(self) -> list[ServerPlan]:
        """The first server of every role in every pool, in order of their names; the others are like one of them."""
        pools = {(gpu.node, gpu.index): gpu.pool for gpu in self.gpus}
        first: dict[tuple[str, str], ServerPlan] = {}
        for server in self.servers:
            first.setdefault((server.role, pools.get(server.gpus[0], "")), server)
        return list(first.values())

    def title(self, stage: str) -> str:
        """Return the name of a stage, which tells its unit: where no prices are known, cost is ``GPUs in use``."""
        return stage if self.prices else {COST: GPUS_IN_USE, COST_PER_MTOK: GPU_HOURS}.get(stage, stage)

    def server(self, name: str) -> ServerPlan:
        """Return the server of this name.

        Raises:
            KeyError: the plan has no such server.
        """
        return lookup(self.servers).by_name[name]
