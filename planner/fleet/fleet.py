"""Fleet and Role: what has to be served and on what, as frozen facts with every default filled in."""

from operator import attrgetter

from msgspec import Struct
from msgspec.structs import replace

from planner.architecture import Architecture
from planner.engine.settings import NOTHING, EngineSettings
from planner.facts.gpu import GPU
from planner.facts.variant import Model, Variant
from planner.fleet.cluster import USUAL, Cluster
from planner.fleet.written import FleetFile
from planner.units import ceil_div

ROUTER_PORT = 8000
"""Where clients find all roles at once; no role may have it."""


PARALLEL_SIZES = (1, 2, 4, 8, 16)
"""Numbers of GPUs that one server may split its layers over; other numbers rarely divide a model's heads."""


SLEEP, DEEP_SLEEP, STOP = "sleep", "sleep-2", "stop"
BETWEEN_TURNS = (SLEEP, DEEP_SLEEP, STOP)
"""What a role does while others have its memory: the engine's sleep on level 1 or 2, or its server is stopped."""


class TimeShare(Struct, frozen=True, kw_only=True):
    """Roles, sorted, of which up to ``awake`` are awake at once; the others leave their memory to them."""

    roles: tuple[str, ...]
    awake: int = 1


class Figure(Struct, frozen=True, kw_only=True):
    """Accuracy of one model or variant as the user states it; both figures in hundredths of a percent.

    ``name`` is the Hugging Face id of the checkpoint, which for a base model is that of its own repository.
    """

    name: str
    score: int | None
    recovery: int | None
    source: str


class Pool(Struct, frozen=True, kw_only=True):
    """Nodes that are all alike: ``node_names`` machines with ``gpus_per_node`` GPUs of one kind each.

    ``path`` is where the file describes it: ``gpu`` or ``nodes.NAME``. On every node the device numbers begin at
    ``gpu_index`` and ``memory_in_use_bytes`` of each GPU are held by others. Pools of one node each may name the same
    node, which then has GPUs of several kinds. ``microdollars_per_gpu_hour`` is what the file says of one GPU; a
    node that is rented costs ``microdollars_per_node_hour`` as a whole, which is that of the instance the file names or
    else of the cheapest one in the catalog, as ``price_source`` and ``price_date`` tell. Both are None when nothing is
    known. A MIG slice counts as a GPU here. ``host_memory_bytes`` of each machine may be taken by sleeping roles, None
    for any number. ``without`` are nodes of the pool that are not to be used, which are not among ``node_names``.
    """

    name: str
    path: str
    gpu: GPU
    node_names: tuple[str, ...]
    without: tuple[str, ...] = ()
    gpus_per_node: int = 1
    gpu_index: int = 0
    memory_in_use_bytes: int = 0
    microdollars_per_gpu_hour: int | None = None
    microdollars_per_node_hour: int | None = None
    price_source: str = ""
    price_date: str = ""
    host_memory_bytes: int | None = None

    @property
    def paid_together(self) -> int:
        """The GPUs that are paid for when one of them is in use."""
        return 1 if self.microdollars_per_node_hour is None else self.gpus_per_node

    @property
    def microdollars_per_hour(self) -> int | None:
        """The price of what is paid together; None when it is not known."""
        whole = self.microdollars_per_node_hour
        return self.microdollars_per_gpu_hour if whole is None else whole

    @property
    def microdollars_of_a_gpu(self) -> int | None:
        """A GPU's part of what is paid together, rounded up: what a server on it is reckoned with, never a price."""
        price = self.microdollars_per_hour
        return None if price is None else ceil_div(price, self.paid_together)

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return len(self.node_names)

    @property
    def gpu_count(self) -> int:
        """GPUs on all nodes together."""
        return self.nodes * self.gpus_per_node

    @property
    def capacity_bytes(self) -> int:
        """What servers may take of each GPU: its total less what the operating system and others hold."""
        return self.gpu.memory_bytes - self.gpu.system_memory_bytes - self.memory_in_use_bytes

    @property
    def tensor_parallel_sizes(self) -> tuple[int, ...]:
        """The numbers of GPUs that one server may split its layers over: powers of two inside one node.

        MIG slices cannot be combined: a CUDA process sees one instance, and there is no peer-to-peer between them
        (NVIDIA MIG user guide, "Application Considerations").
        """
        most = 1 if self.gpu.parent else self.gpus_per_node
        return tuple(size for size in PARALLEL_SIZES if size <= most)

    def server_nodes(self, tensor_parallel_size: int, stages: int, data_ranks: int = 1) -> int:
        """Return how many nodes a server of so many pipeline stages and data-parallel ranks is on; 0 for none.

        All are on one node where it has GPUs enough. Otherwise each stage is on a node of its own; data-parallel ranks
        are on one node each, with all their stages, and every node has as many: the engine gives every node the same
        number (``local_world_size`` in vLLM's config/parallel.py, 0.12.0 to 0.33.0).
        """
        if tensor_parallel_size not in self.tensor_parallel_sizes or (self.gpu.parent and stages * data_ranks > 1):
            return 0
        if data_ranks > 1:
            local = self._local_ranks(tensor_parallel_size * stages, data_ranks)
            return data_ranks // local if local and data_ranks // local <= self.nodes else 0
        if tensor_parallel_size * stages <= self.gpus_per_node:
            return 1
        return stages if stages <= self.nodes else 0

    def _local_ranks(self, gpus: int, data_ranks: int) -> int:
        """Return how many data-parallel ranks of so many GPUs each node has; 0 where they fit none.

        They are as many as fit, the same everywhere, on a number of GPUs that is a power of two.
        """
        if gpus > self.gpus_per_node or gpus & (gpus - 1):
            return 0
        local = 1
        while data_ranks % (2 * local) == 0 and 2 * local * gpus <= self.gpus_per_node:
            local *= 2
        return local

    def splits(self, stages: int) -> bool:
        """Whether any server can have so many pipeline stages."""
        return any(self.server_nodes(size, stages) for size in self.tensor_parallel_sizes)

    def servers(self, tensor_parallel_size: int, stages: int, data_ranks: int = 1) -> int:
        """Return how many such servers have GPUs of their own."""
        nodes = self.server_nodes(tensor_parallel_size, stages, data_ranks)
        if not nodes:
            return 0
        blocks = nodes if nodes > 1 or data_ranks > 1 else stages
        groups = self.gpus_per_node // (tensor_parallel_size * stages * data_ranks // blocks)
        return self.nodes * (groups // blocks) if nodes == 1 else self.nodes * groups // blocks


def users_rate_milli(users: int, think_us: int) -> int:
    """Return the thousandths of a request per second that so many users never exceed, who think for so long."""
    return ceil_div(users * 1_000_000_000, think_us)


class Role(Struct, frozen=True, kw_only=True):
    """One job, served by one model under the role's name.

    ``models`` are the candidates in order of their names, each with the variants that may be chosen when the file
    names variants of its own; ``schemes`` and ``variant`` are pins on top, None when everything is allowed.
    ``kv_cache_dtype`` is ``auto``, ``fp8`` or None, which leaves it to the planner, as None does for the ``port``. A
    request has ``prompt_tokens`` and ``output_tokens``; both are None when concurrency counts at full context. Floors
    are in hundredths of a percent, None when there is none.

    ``tpot_us`` and ``ttft_us`` are the longest times per output token and to the first one that ``percentile`` of a
    hundred requests may take, None when there is no limit; ``rate_milli`` thousandths of a request per second are what
    all servers keep up with, also where the file has ``users`` who think for ``think_us``. ``cached_permille`` of a
    prompt is in the prefix cache, and a server of the role works ``busy_permille`` of the time.

    ``replicas`` is a fixed number of equal servers, or None: as many as are best. The parallel
    sizes are those allowed, ascending, None when the planner chooses; ``data_parallel_sizes`` are numbers of ranks that
    have requests of their own, and with ``expert_parallel`` all ranks share out whole experts.
    Over ``context_parallel_sizes`` ranks a server deals out the tokens that it caches. ``pools`` are the names
    of the pools the role may use, None for all. ``share_with`` names, sorted, the only other roles that may be on its
    GPUs; empty for an exclusive role, None when anyone may. ``spread`` puts every replica on a ``gpu`` or a ``node`` of
    its own. An ``optional`` role is left out rather than making the fleet impossible. ``settings`` are pins of the
    engine, ``drafter`` the model that drafts tokens for the role's. ``parts`` are the roles that one server does, this
    one first, when there are several.
    ``sleeps`` is the level, 1 or 2, on which its servers sleep between their turns, 0 when they do not. ``named`` says
    that the file names the models, or a variant. With ``across_pools`` its servers may be in several pools, and need be
    alike in each of them alone.
    """

    name: str
    task: str
    models: tuple[Model, ...]
    context_min: int
    context_wish: int
    concurrency_min: int
    concurrency_target: int
    prompt_tokens: int | None
    output_tokens: int | None
    recovery_floor: int | None
    score_floor: int | None
    weight: int
    variant: str | None
    schemes: tuple[str, ...] | None
    kv_cache_dtype: str | None
    port: int | None
    trust_remote_code: bool
    figures: tuple[Figure, ...] = ()
    replicas: int | None = 1
    tensor_parallel_sizes: tuple[int, ...] | None = None
    pipeline_parallel_sizes: tuple[int, ...] | None = None
    data_parallel_sizes: tuple[int, ...] | None = (1,)
    expert_parallel: bool | None = False
    context_parallel_sizes: tuple[int, ...] | None = (1,)
    pools: tuple[str, ...] | None = None
    share_with: tuple[str, ...] | None = None
    spread: str | None = None
    optional: bool = False
    tpot_us: int | None = None
    ttft_us: int | None = None
    percentile: int = 50
    rate_milli: int | None = None
    users: int | None = None
    think_us: int | None = None
    cached_permille: int = 0
    busy_permille: int = 1000
    settings: EngineSettings = NOTHING
    parts: tuple["Role", ...] = ()
    drafter: Architecture | None = None
    sleeps: int = 0
    named: bool = True
    across_pools: bool = False

    @property
    def wants_speed(self) -> bool:
        """Whether something is required of the role's speed."""
        return any(value is not None for value in (self.tpot_us, self.ttft_us, self.rate_milli))

    @property
    def exclusive(self) -> bool:
        """Whether no other role may be on its GPUs."""
        return self.share_with == ()

    def shares_with(self, other: "Role") -> bool:
        """Whether servers of both roles may be on one GPU; replicas of one role may unless they are spread."""
        if other.name == self.name:
            return self.spread is None
        return all(
            role.share_with is None or name in role.share_with
            for role, name in ((self, other.name), (other, self.name))
        )

    @property
    def request_tokens(self) -> int | None:
        """Tokens of one request at which concurrency counts; None means the chosen context."""
        if self.prompt_tokens is None:
            return None
        return self.prompt_tokens + (self.output_tokens or 0)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that its servers answer to."""
        return tuple(part.name for part in self.parts) or (self.name,)

    def allows(self, variant: Variant) -> bool:
        """Whether the role's pins leave this variant."""
        return (self.variant is None or self.variant == variant.repository) and (
            self.schemes is None or variant.scheme in self.schemes
        )


class Fleet(Struct, frozen=True, eq=False, kw_only=True):
    """Roles to be served on the GPUs of one pool or more.

    ``engine_version`` is None for the newest release with a memory profile. ``objective`` lists what to maximise, each
    before the next. ``roles`` and ``pools`` are in order of their names, so that the order of the file decides nothing.
    ``source_sha256`` is a digest of what the file says, whatever its comments, spelling and order.
    ``written`` is that file, None when the fleet is no longer what it says.
    ``floors`` are things maximised with the value each must reach; no file has them, points of a frontier have.
    ``time_share`` are groups of roles that take turns, none of which is in two of them. What they do between turns is
    one of ``BETWEEN_TURNS``, None for whichever gives a plan: only a fleet where it is settled has sleeping roles.
    ``cluster`` decides nothing but how manifests are written.
    """

    name: str
    engine: str
    engine_version: str | None
    objective: tuple[str, ...]
    pools: tuple[Pool, ...]
    roles: tuple[Role, ...]
    source_sha256: str = ""
    floors: tuple[tuple[str, int], ...] = ()
    written: FleetFile | None = None
    time_share: tuple[TimeShare, ...] = ()
    between_turns: str | None = None
    cluster: Cluster = USUAL

    def __hash__(self) -> int:
        return hash(_COMPARED(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fleet) and _COMPARED(self) == _COMPARED(other)

    def role(self, name: str) -> Role:
        """Return the role of this name.

        Raises:
            KeyError: the fleet has no such role.
        """
        return {role.name: role for role in self.roles}[name]

    def pool(self, name: str) -> Pool:
        """Return the pool of this name.

        Raises:
            KeyError: the fleet has no such pool.
        """
        return {pool.name: pool for pool in self.pools}[name]

    def pools_of(self, role: Role) -> tuple[Pool, ...]:
        """Return the pools a role may use."""
        return tuple(pool for pool in self.pools if role.pools is None or pool.name in role.pools)

    def with_pool(self, changed: Pool) -> "Fleet":
        """Return the fleet with one pool replaced by another of the same name."""
        found = tuple(changed if pool.name == changed.name else pool for pool in self.pools)
        return replace(self, pools=found, written=None)

    def settled(self, between_turns: str) -> "Fleet":
        """Return the fleet with what its roles do between their turns."""
        level = {SLEEP: 1, DEEP_SLEEP: 2}.get(between_turns, 0)
        turning = {name for group in self.time_share for name in group.roles}
        roles = tuple(replace(role, sleeps=level if role.name in turning else 0) for role in self.roles)
        return replace(self, between_turns=between_turns, roles=roles)

    def excludes(self, one: str, other: str) -> bool:
        """Whether two roles are never awake together."""
        return one != other and any(
            group.awake == 1 and one in group.roles and other in group.roles for group in self.time_share
        )

    @property
    def host_memory_bytes(self) -> int | None:
        """What sleeping roles may take of the memory of the fleet's one machine; None for any number."""
        stated = [pool.host_memory_bytes for pool in self.pools if pool.host_memory_bytes is not None]
        return min(stated, default=None)

    @property
    def priced(self) -> bool:
        """Whether the price of every GPU is known, so that cost is counted in dollars and not in GPUs."""
        return all(pool.microdollars_per_hour is not None for pool in self.pools)

    @property
    def counts_money(self) -> bool:
        """Whether the objective counts what GPUs cost, by the hour or for tokens."""
        return not {"cost", "cost_per_mtok"}.isdisjoint(self.objective)

    @property
    def gpu_count(self) -> int:
        """GPUs of all pools together."""
        return sum(pool.gpu_count for pool in self.pools)

    @property
    def gpu(self) -> GPU:
        """The kind of GPU of a fleet with one pool."""
        (pool,) = self.pools
        return pool.gpu

    @property
    def gpu_index(self) -> int:
        """The device number of the first GPU of a fleet with one pool."""
        (pool,) = self.pools
        return pool.gpu_index

    @property
    def memory_in_use_bytes(self) -> int:
        """What others hold on each GPU of a fleet with one pool."""
        (pool,) = self.pools
        return pool.memory_in_use_bytes


_COMPARED = attrgetter(*(name for name in Fleet.__struct_fields__ if name != "written"))
"""What a fleet is: where it was written does not make it another one."""
