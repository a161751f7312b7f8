"""How far an estimate may be off: margins from the residuals of the benchmark, by engine era and kind of GPU."""

from planner.engine import EngineProfile
from planner.flags import ServeFlags
from planner.gpu import GPU
from planner.units import GIB


def margin_bytes(profile: EngineProfile, gpu: GPU, flags: ServeFlags, terms_bytes: int) -> int:
    """Return by how much the KV cache may differ from the estimate, on one GPU.

    ``terms_bytes`` is the sum of activation, non-PyTorch memory and graphs, on which the margin's relative part is
    taken.
    """
    margin = GIB // 8 + terms_bytes // 10
    if flags.tensor_parallel_size > 1:
        margin += GIB // 8
    if not profile.exact:
        margin += GIB // 4
    return margin
