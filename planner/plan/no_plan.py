"""NoPlan: the proof that nothing fits, as facts; ``planner.explain`` turns them into sentences."""

from dataclasses import dataclass

from planner.accuracy import Accuracy
from planner.options import Rejection


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Requirement:
    """One line of the fleet file that constrains: its path, and what it asks for, as a person would write it."""

    path: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """The least memory with which a role can be served at all, and the option that takes it."""

    role: str
    needed_bytes: int
    repository: str
    kv_cache_dtype: str
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change to the fleet that makes a plan possible; it was solved before it is offered.

    ``before`` and ``after`` are what the file says and should say at ``path``; both are empty when the role itself is
    to go. ``accuracy`` is what the changed role would have, where the change is paid in accuracy.
    """

    path: str
    before: str
    after: str
    accuracy: Accuracy | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoPlan:
    """Why a fleet cannot be served, from the cheapest explanation to the dearest.

    ``empty_roles`` have no option that fits an empty GPU; their ``rejections`` say why. Otherwise ``needs`` are the
    least each role takes, in order of the role names, and ``deficit_bytes`` how much more memory they need than
    ``capacity_bytes``. ``conflict`` is a minimal set of requirements: together they cannot be met, and without any one
    of them they can. ``changes`` are single changes that help, the cheapest first.
    """

    fleet: str
    gpu: str
    gpu_count: int
    capacity_bytes: int
    memory_in_use_bytes: int
    empty_roles: tuple[str, ...]
    rejections: tuple[Rejection, ...]
    needs: tuple[Need, ...]
    deficit_bytes: int
    conflict: tuple[Requirement, ...]
    conflict_deficit_bytes: int
    changes: tuple[Change, ...]
