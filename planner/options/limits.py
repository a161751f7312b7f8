"""Limits: checkpoints an engine version is too old for, and KV cache dtypes that a model or GPU cannot have."""

from planner.architecture import Architecture
from planner.engine.backends import load_backends
from planner.engine.options import engine_options, known_value
from planner.engine.profile import EngineProfile
from planner.engine.versions import parse_version
from planner.facts.gpu import GPU
from planner.facts.variant import Model, Variant
from planner.memory.validity import fewest_experts
from planner.options.layouts import Layout
from planner.tensors.identity import Same

KV_CACHE_DTYPES = ("auto", "fp8")
"""What a plan chooses from: the model's own dtype, and one byte per element, which every engine version knows."""

# Before versions whose attention rules were read (catalog/engines/attention.yaml): FlashAttention keeps an FP8 cache on
# 9.x and 10.x, FlashInfer on others for these head sizes (v1/attention/backends, 0.11.0).
_FLASH_ATTENTION_FP8 = (9, 10)
_FP8_CACHE_HEADS = (64, 128, 256, 512)
_WHOLE = ("float16", "bfloat16")
_STAGES, _NODES_WITHOUT_RAY = "0.9.1", "0.12.0"
DATA_RANKS = "0.11.0"
"""The first version of the engine whose data-parallel ranks are planned."""


def engine_refusal(model: Model, variant: Variant, profile: EngineProfile) -> str:
    """Return the engine version a checkpoint needs when the profile's is older, else an empty text."""
    minima = [text for text in (model.engine_minimum, variant.engine_minimum) if text]
    needed = max(minima, key=parse_version, default="")
    return needed if needed and parse_version(needed) > parse_version(profile.version) else ""


def parser_refusal(model: Model, task: str, profile: EngineProfile) -> str:
    """Say which parser of a model's thoughts, or of an agent's tool calls, an engine version lacks, or return nothing.

    Without the first people are served the thoughts with the answer, without the second calls are text.
    """
    options = engine_options(profile.version)
    needed = [("--reasoning-parser", model.reasoning_parser)]
    needed += [("--tool-call-parser", model.tool_parser)] * (task == "agent")
    lacking = [f"{flag} {name}" for flag, name in needed if name and not known_value(flag, name, options)]
    return f"vLLM {profile.version} has no {lacking[0]}, and the role names no models" if lacking else ""


def stages_refusal(stages: int, nodes: int, profile: EngineProfile) -> str:
    """Say why an engine version does not start a server of so many pipeline stages on so many nodes, or return nothing.

    Until 0.9 pipeline stages without Ray took the engine's older core (``engine/arg_utils.py`` 0.8.5), which is not
    sized with them; until 0.12 several nodes needed Ray (``nnodes`` in ``config/parallel.py``), which is not planned.
    """
    what, needed = ("stages on several nodes", _NODES_WITHOUT_RAY) if nodes > 1 else ("pipeline stages", _STAGES)
    if stages == 1 or parse_version(profile.version) >= parse_version(needed):
        return ""
    return f"{what} need version {needed} of the engine or newer"


def ranks_refusal(data_ranks: int, nodes: int, architecture: Architecture, profile: EngineProfile) -> str:
    """Say why an engine version does not start a server of so many data-parallel ranks on so many nodes, or nothing.

    From 0.11 on ranks gather one another's tokens by default and every node may have an API of its own
    (``data_parallel_hybrid_lb`` in ``engine/arg_utils.py``); before, each sent all it had to all others in turn. Over
    several nodes the engine makes ranks of a model without experts servers of their own.
    """
    if data_ranks == 1:
        return ""
    if parse_version(profile.version) < parse_version(DATA_RANKS):
        return f"data-parallel ranks need version {DATA_RANKS} of the engine or newer"
    if nodes > 1 and not fewest_experts(Same(architecture)):
        return "data-parallel ranks on several nodes share out experts, which the model has not: have more replicas"
    return ""


def layout_refusal(layout: Layout, nodes: int, architecture: Architecture, profile: EngineProfile) -> str:
    """Say why an engine version does not start a server that is shared out so over so many nodes, or return nothing."""
    ranks = layout.data_parallel_size
    stages = stages_refusal(layout.pipeline_parallel_size, nodes if ranks == 1 else 1, profile)
    return stages or ranks_refusal(ranks, nodes, architecture, profile)


def cache_refusal(
    kv_cache_dtype: str, model: Model, architecture: Architecture, gpu: GPU, profile: EngineProfile
) -> str:
    """Say why a KV cache dtype is not to be used with a model on a GPU, or return an empty text.

    Where the attention rules of the engine version are known, they decide about kernels instead.
    """
    if kv_cache_dtype == "auto":
        return ""
    if evidence := model.cache_refusals.get(kv_cache_dtype):
        return evidence
    if kv_cache_dtype in _WHOLE:
        return ""
    if load_backends(profile.version):
        return ""
    if not kv_cache_dtype.startswith("fp8"):
        return f"whether {profile} has kernels for a {kv_cache_dtype} cache on {gpu.name} is not known"
    if gpu.compute_capability is None or gpu.compute_capability[0] in _FLASH_ATTENTION_FP8:
        return ""
    if architecture.is_latent:
        return f"no kernel for an fp8 cache of latent attention on {gpu.name}"
    if architecture.head_dim not in _FP8_CACHE_HEADS:
        return f"no kernel for an fp8 KV cache with head size {architecture.head_dim} on {gpu.name}"
    return ""
