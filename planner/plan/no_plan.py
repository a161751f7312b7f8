"""NoPlan: the proof that nothing fits, as facts; ``planner.explain`` turns them into sentences."""

from msgspec import Struct

from planner.facts.accuracy import Accuracy
from planner.options import Rejection


class Requirement(Struct, frozen=True, order=True, kw_only=True):
    """One line of the fleet file that constrains: its path, and what it asks for, as a person would write it."""

    path: str
    value: str


class Supply(Struct, frozen=True, kw_only=True):
    """The GPUs of one pool: how many, and what servers may take of each."""

    pool: str
    gpu: str
    count: int
    capacity_bytes: int


class Need(Struct, frozen=True, kw_only=True):
    """The least memory with which a role can be served at all, and the option that takes it.

    ``needed_bytes`` are taken of each of the GPUs of each server.
    """

    role: str
    needed_bytes: int
    repository: str
    kv_cache_dtype: str
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    pool: str = ""
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    replicas: int = 1

    @property
    def total_bytes(self) -> int:
        """What all servers take of all their GPUs."""
        ranks = self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size
        return self.needed_bytes * ranks * self.replicas


class Change(Struct, frozen=True, kw_only=True):
    """One change to the fleet that makes a plan possible; it was solved before it is offered.

    ``before`` and ``after`` are what the file says and should say at ``path``; ``after`` is empty when what is there is
    to go, and ``before`` too when that is the role itself. ``accuracy`` is what the changed role would have, where the
    change is paid in accuracy.
    """

    path: str
    before: str
    after: str
    accuracy: Accuracy | None


class Conflict(Struct, frozen=True, kw_only=True):
    """A minimal set of requirements: together they cannot be met, and without any one they can.

    ``deficit_bytes`` is how much more memory every GPU would need for them alone, 0 when none would help. The conflict
    is ``decisive`` when without any one of its requirements the whole fleet has a plan.
    """

    requirements: tuple[Requirement, ...]
    deficit_bytes: int
    decisive: bool


class NoPlan(Struct, frozen=True, kw_only=True):
    """Why a fleet cannot be served, from the cheapest explanation to the dearest.

    ``empty_roles`` have no option that fits empty GPUs; their ``rejections`` say why. Otherwise ``needs`` are the least
    each required role takes, in order of the role names, and ``deficit_bytes`` how much more memory every GPU would
    have to have. ``conflicts`` have no requirement in common. ``changes`` are single changes that help, the cheapest
    first; where none does, ``pairs`` are changes of which two together help. ``cut`` says that the budget ran out
    before all conflicts and changes had been looked for; that there is no plan is proven all the same.
    """

    fleet: str
    gpus: tuple[Supply, ...]
    empty_roles: tuple[str, ...]
    rejections: tuple[Rejection, ...]
    needs: tuple[Need, ...]
    deficit_bytes: int
    conflicts: tuple[Conflict, ...]
    changes: tuple[Change, ...]
    pairs: tuple[tuple[Change, Change], ...] = ()
    cut: bool = False
