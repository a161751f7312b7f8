"""What start-ups of the user's own teach about the next one: by how much the KV cache is moved, and how sure that is.

A start-up of the same model shared out in the same way was ``measured``; what another model on the same kind of device
and engine version left is ``transferred``: driver, kernels and what else runs there weigh on all of them alike. The
settings that a plan varies (sequences, batch, context) do not matter here: the terms that depend on them are computed.
"""

import functools
import hashlib

from msgspec import Struct

from planner.engine.profile import EngineProfile
from planner.engine.versions import parse_version
from planner.facts.gpu import GPU
from planner.facts.seen import Seen
from planner.memory.terms import Server
from planner.tensors.identity import Same

# A log prints two decimals of GiB for each of the figures that make up the KV cache.
_RESOLUTION_BYTES = 20 * 2**20
# Of the range stated before anything was learnt, a quarter stays where a start-up of the same state was measured, half
# where its state is not known. What other models left says nothing against more being left of this one, and one of them
# alone is no rule: (low, high) of the range are divided by these. benchmarks/calibration shows what lies inside.
_MEASURED = (4, 4)
_STATE_UNKNOWN = (2, 2)
_TRANSFERRED = (2, 1)
_ONE_ALONE = (1, 1)


class Learnt(Struct, frozen=True):
    """By how much more (or less) is left than expected, the lowest and highest that was seen, and by which logs."""

    kind: str
    more_bytes: int
    lowest_bytes: int
    highest_bytes: int
    parts: tuple[int, int]
    sources: tuple[str, ...]

    def low_bytes(self, stated_bytes: int) -> int:
        """Return how much less than what is now expected may be left, of what was stated before."""
        return max(stated_bytes // self.parts[0], _RESOLUTION_BYTES) + self.more_bytes - self.lowest_bytes

    def high_bytes(self, stated_bytes: int) -> int:
        """Return how much more than what is now expected may be left."""
        return max(stated_bytes // self.parts[1], _RESOLUTION_BYTES) + self.highest_bytes - self.more_bytes


def learnt(server: Server, gpu: GPU, profile: EngineProfile) -> Learnt | None:
    """Return what is known from the user's start-ups of this server, or of others on this device; None where nothing.

    Weights alone move what is expected and leave the range as it was. A start that compiles its model and one that
    finds it compiled teach nothing about each other. An outlier teaches about its own server alone: something else was
    on that GPU, or its log is of another machine.
    """
    if not gpu.seen:
        return None
    release = parse_version(profile.version)[:2]
    model, split, state = model_key(server), split_key(server), state_of(server)
    here = [one for one in gpu.seen if parse_version(one.version)[:2] == release and one.compiled in ("", state)]
    own = [one for one in here if one.model == model and one.split == split]
    if own:
        same = [one for one in own if one.compiled == state and not one.weights_alone]
        own = [one for one in own if not one.weights_alone] or own
        parts = _MEASURED if same else _ONE_ALONE if own[0].weights_alone else _STATE_UNKNOWN
        return _of("measured", same or own, parts)
    others = [one for one in here if one.split[:5] == split[:5] and not (one.outlier or one.weights_alone)]
    return _of("transferred", others, _TRANSFERRED if len(others) > 1 else _ONE_ALONE) if others else None


def model_key(server: Server) -> str:
    """Return what identifies a model as stored: its shapes and its quantization."""
    return _key(Same(server.architecture), Same(server.quantization))


def split_key(server: Server) -> tuple[int | str | bool, ...]:
    """Return how a server is shared out and run, the three sizes first."""
    flags = server.flags
    sizes = (flags.tensor_parallel_size, flags.pipeline_parallel_size, flags.data_parallel_size)
    ways = (flags.expert_parallel, flags.enforce_eager, flags.max_loras > 0)
    return (*sizes, *ways, server.kv_cache_dtype, flags.dtype, flags.quantization)


def state_of(server: Server) -> str:
    """Return whether a start compiles the model, finds it compiled, or runs it as it is."""
    return "eager" if server.flags.enforce_eager else server.flags.compile_cache


def _of(kind: str, seen: list[Seen], parts: tuple[int, int]) -> Learnt:
    more = sorted(one.more_bytes for one in seen)
    sources = tuple(dict.fromkeys(one.source for one in seen))
    return Learnt(kind, more[(len(more) - 1) // 2], more[0], more[-1], parts, sources)


@functools.lru_cache(maxsize=512)
def _key(architecture: Same[object], quantization: Same[object]) -> str:
    return hashlib.sha256(repr((architecture.value, quantization.value)).encode()).hexdigest()[:16]
