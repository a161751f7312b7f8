"""The planner's answer to a case, in the shape of the engine's."""

from typing import Any

from benchmarks.engine_oracle.cases import architecture_of
from planner.architecture import Architecture, Tensor
from planner.engine.flags import ServeFlags
from planner.engine.profile import load_profile
from planner.facts.quantization import Quantization
from planner.memory.context_parallel import shape_refusal
from planner.memory.validity import invalid
from planner.tensors.kv_cache import KVLayout, layout
from planner.tensors.kv_rules import kv_rules
from planner.tensors.weight_rules import WeightRules
from planner.tensors.weights import Rank, expert_shares, parameter_bytes, rotary_bytes

ENGINE = "0.32.0"
_PROFILE = load_profile(ENGINE)
RULES = WeightRules(
    latent_rope_bytes=None,
    without_rotary=_PROFILE.transformers_classes,
    whole_shared=_PROFILE.whole_shared_experts,
)
"""Rules on CPUs, where the rotary table of latent attention has the model's dtype; on GPUs FlashInfer wants fp32."""


def answer(case: dict[str, Any]) -> dict[str, Any]:
    """Return what the planner says about a case: bytes and cache plans, or ``refused`` with the reason."""
    architecture = architecture_of(case["id"], case["config"], pooling=case.get("pooling", False))
    ranks, data_ranks = int(case["tensor_parallel_size"]), int(case.get("data_parallel_size", 1))
    expert_parallel = bool(case.get("expert_parallel"))
    flags = ServeFlags(
        max_model_len=4096,
        max_num_seqs=1,
        max_num_batched_tokens=4096,
        gpu_memory_utilization=0.9,
        tensor_parallel_size=ranks,
        data_parallel_size=data_ranks,
        expert_parallel=expert_parallel,
        context_parallel_size=int(case.get("context_parallel_size", 1)),
    )
    reason = invalid(architecture, Quantization(), flags, _PROFILE) or shape_refusal(architecture, flags, _PROFILE)
    if reason:
        return {"id": case["id"], "refused": reason}
    rank = Rank(**expert_shares(architecture, ranks, data_ranks, RULES, expert_parallel=expert_parallel), rules=RULES)
    tables = rotary_bytes(architecture, rank) + _vision_tables(architecture, "rotary_table")
    buffers = tables + _vision_tables(architecture, "_buffer")
    return {
        "id": case["id"],
        "parameter_bytes": parameter_bytes(architecture, Quantization(), rank) - buffers,
        "rotary_bytes": tables,
        "kv": [_plan(architecture, question, case) for question in case["questions"]],
    }


def _vision_tables(architecture: Architecture, kind: str) -> int:
    parts = architecture.vision.parts if architecture.vision else ()
    tables = (part for part in parts if isinstance(part, Tensor) and part.path.endswith(kind))
    return sum(table.elements * (table.dtype_bytes or 2) for table in tables)


def _plan(architecture: Architecture, question: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    cache: KVLayout = layout(
        architecture,
        rules=kv_rules(_PROFILE),
        kv_cache_dtype=question["kv_cache_dtype"],
        tensor_parallel_size=int(case["tensor_parallel_size"]),
        block_size=int(case["block_size"]),
        context_parallel_size=int(case.get("context_parallel_size", 1)),
    )
    length, batch = question["max_model_len"], question["max_num_batched_tokens"]
    blocks = cache.blocks(int(case["kv_bytes"]))
    return {
        **question,
        "groups": [len(group.layers) for group in cache.groups],
        "blocks": blocks,
        "max_concurrency": cache.max_concurrency(blocks, length, batch),
    }
