"""Option and Rejection: one way to serve a role, and one reason why a variant cannot."""

from collections.abc import Callable
from typing import Literal, Protocol

from msgspec import Struct

from planner.catalog.speed_tables import SpeedTables
from planner.engine.profile import EngineProfile
from planner.facts.accuracy import Accuracy
from planner.facts.variant import Model, Variant
from planner.fleet import Role
from planner.memory.asleep import STOPPED, Residue
from planner.memory.demand import Demand
from planner.memory.terms import Server
from planner.options.place import Place
from planner.options.worth import Worth

Reason = Literal[
    "variant", "scheme", "engine", "unsupported", "capability", "fault", "context", "unscored", "unknown", "recovery",
    "score", "memory", "tpot", "ttft", "rate", "sequences", "unmeasured",
]  # fmt: skip


Kept = tuple[int, ...]
"""How much of what a role has another option would leave it, what counts most first."""


class Option(Struct, frozen=True, kw_only=True):
    """One way to serve a role: a variant, a KV cache dtype, a context, a batch size, on how many GPUs of which pool.

    ``others`` are further roles that its servers do, each with their accuracy at it.

    ``server`` is what would be started, ``replicas`` times, with ``max_num_seqs`` at its largest, each on so many
    ``nodes``; ``pool`` is the position of the pool in the fleet. ``demand`` is the memory on each of the server's GPUs
    as a function of the sequences of each of its data-parallel ranks, from ``sequences_min``, where it is
    ``least_bytes``, to ``sequences_max``; each counts with ``request_tokens``. Between turns each server keeps what
    ``asleep`` says.
    """

    role: str
    pool: int
    model: Model
    variant: Variant
    server: Server
    nodes: int = 1
    replicas: int
    request_tokens: int
    sequences_min: int
    sequences_max: int
    accuracy: Accuracy
    others: tuple[tuple[Role, Accuracy], ...] = ()
    demand: Demand
    least_bytes: int
    worth: Worth
    asleep: Residue = STOPPED

    @property
    def max_model_len(self) -> int:
        """The context in tokens."""
        return self.server.flags.max_model_len

    @property
    def max_num_batched_tokens(self) -> int:
        """The tokens of one forward pass."""
        return self.server.flags.max_num_batched_tokens

    @property
    def tensor_parallel_size(self) -> int:
        """The GPUs that each server is split over."""
        return self.server.flags.tensor_parallel_size

    @property
    def pipeline_parallel_size(self) -> int:
        """The stages that hold the layers of each server one after another."""
        return self.server.flags.pipeline_parallel_size

    @property
    def data_parallel_size(self) -> int:
        """The ranks of each server that have requests and a KV cache of their own."""
        return self.server.flags.data_parallel_size

    @property
    def context_parallel_size(self) -> int:
        """The tensor-parallel ranks that cached tokens are dealt out over."""
        return self.server.flags.context_parallel_size

    @property
    def width(self) -> int:
        """The adjacent GPUs of one node that hold a pipeline stage, or the data-parallel ranks there."""
        return self.server.flags.ranks // self.blocks

    @property
    def blocks(self) -> int:
        """How many such groups of GPUs each server has: one for each pipeline stage, or for each node with ranks."""
        return self.nodes if self.nodes > 1 or self.data_parallel_size > 1 else self.pipeline_parallel_size

    @property
    def ranks(self) -> int:
        """How many data-parallel ranks all servers of the role have together; each serves as many requests."""
        return self.data_parallel_size * self.replicas

    @property
    def needs(self) -> tuple[int, ...]:
        """What one option must not have more of than another to be as good: GPUs, and what it keeps asleep, if it does.

        All options of a role have as many of these.
        """
        if self.asleep == STOPPED:
            return (self.width,)
        return self.width, self.asleep.gpu_bytes, self.host_bytes

    @property
    def host_bytes(self) -> int:
        """What all servers keep of the machine's memory asleep."""
        return self.asleep.host_bytes * self.replicas

    @property
    def layout(self) -> tuple[int, int, int, int]:
        """What decides, beside the width, where the servers may be: pool, servers, groups of GPUs, nodes."""
        return self.pool, self.replicas, self.blocks, self.nodes

    @property
    def likeness(self) -> tuple[str, str, int]:
        """What tells options apart whose servers are to be beside others of the role in another pool."""
        return self.variant.repository, self.kv_cache_dtype, self.max_model_len

    @property
    def total_bytes(self) -> int:
        """The least memory of all servers on all their GPUs."""
        return self.least_bytes * self.server.flags.ranks * self.replicas

    @property
    def kv_cache_dtype(self) -> str:
        """The KV cache dtype as the engine's flag spells it."""
        return self.server.flags.kv_cache_dtype


class Rejection(Struct, frozen=True, order=True, kw_only=True):
    """Why a variant, or one KV cache dtype of it on one pool, is no option for a role.

    ``wanted`` and ``found`` are the two figures that disagree: tokens for ``context``, hundredths of a percent for
    ``recovery`` and ``score``, bytes for ``memory``, microseconds for ``tpot`` and ``ttft``, thousandths of a request
    per second for ``rate``; for ``sequences`` those the role requires and those that its speed leaves. ``detail`` holds
    what is not a number: the scheme, the versions, the engine's own words, what most of the time goes to.
    """

    role: str
    model: str
    repository: str
    kv_cache_dtype: str = ""
    pool: str = ""
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    reason: Reason
    wanted: int = 0
    found: int = 0
    detail: str = ""


class Explained(Protocol):
    """What explanations ask about a role beyond its options; see ``planner.options.considered``."""

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """Why variants are out, sorted."""

    def like(self, option: Option) -> tuple[Option, ...]:
        """Return all options of the same variant in the same places, and the first context that does not fit."""

    def better(
        self, option: Option, room_bytes: int, kept: Callable[[Option], Kept], everything: Kept
    ) -> Option | None:
        """Return the more accurate option that fits a room and leaves most of everything, or that needs least more."""


class RoleOptions(Struct, frozen=True, kw_only=True):
    """The options of one role in canonical order that a best plan may need, and what else was ``considered``.

    ``faulty`` says that options with a serious known fault of the engine were left out, or are there because the role
    has no others. ``cut`` says that there was no time to look at all of its options, and ``missed`` what one that was
    not looked at adds to the first stage at most, before its weight; None where nothing says that.
    """

    role: Role
    options: tuple[Option, ...]
    considered: Explained
    faulty: bool = False
    cut: bool = False
    missed: int | None = None

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """Why other variants are out."""
        return self.considered.rejections


class Prepared(Struct, frozen=True, kw_only=True):
    """The options of every role, in order of the role names, and the places they are for, one for each pool.

    ``speed`` has what kernels reach on their GPUs. ``some`` says that options were left out with which a plan reaches
    less than the best one and its runner-up; ``missed`` is what the first stage can be at most with options that there
    was no time for, None where nothing says that or all were looked at. ``begun`` has the options of a plan that was
    found quickly, one of each role, where no others may be found in time.
    """

    places: tuple[Place, ...]
    profile: EngineProfile
    roles: tuple[RoleOptions, ...]
    speed: SpeedTables
    some: bool = False
    missed: int | None = None
    begun: tuple[RoleOptions, ...] = ()

    @property
    def cut(self) -> tuple[str, ...]:
        """The names of the roles whose options there was no time to look at all of."""
        return tuple(found.role.name for found in self.roles if found.cut)


def canonical(option: Option) -> tuple[int | str, ...]:
    """Order options by worth, then by name, so that equal fleets list equal options whatever the catalog's order."""
    value = option.worth
    return (
        -value.accuracy,
        -value.accuracy_left,
        option.kv_cache_dtype,
        option.variant.repository,
        option.pool,
        option.pipeline_parallel_size,
        option.tensor_parallel_size,
        option.data_parallel_size,
        option.context_parallel_size,
        option.replicas,
        -value.context,
        -value.batch,
        option.sequences_min,
        option.sequences_max,
    )
