"""KnownFault: what is known to go wrong with a server of a plan, as plan.yaml has it."""

from msgspec import Struct

from planner.engine.faults import Case, known_faults
from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.memory.terms import Server


class KnownFault(Struct, frozen=True, kw_only=True):
    """One fault: its name in the catalog, what happens, and whether a plan without it was looked for (``serious``)."""

    id: str
    serious: bool
    account: str


def faults_of(
    server: Server, gpu: GPU, profile: EngineProfile, nodes: int, asked: tuple[str, ...]
) -> tuple[KnownFault, ...]:
    """Return the known faults of a server on a GPU, in the order of the catalog; ``asked`` is that of ``Case``.

    Raises:
        InvalidConfig: the list of faults cannot be read.
    """
    case = Case(
        version=profile.version,
        gpu=gpu,
        architecture=server.architecture,
        quantization=server.quantization,
        flags=server.flags,
        nodes=nodes,
        asked=asked,
    )
    return tuple(KnownFault(id=f.id, serious=f.serious, account=f.account) for f in known_faults(case))
