"""Which questions to ask: the smallest and the largest model of every class, over ranks and flags."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from planner.architecture import Architecture
from planner.catalog import load_catalog
from planner.config_json import as_pooling, parse_config
from planner.errors import PlannerError
from planner.units import GIB

FOLDER = Path(__file__).resolve().parent
RANKS = (1, 2, 4, 8)
KV_BYTES = 48 * GIB
LAYOUTS = ((8, 1, True), (1, 8, False), (1, 8, True), (2, 4, False), (2, 4, True))
"""Ranks of tensor and of data parallelism, and whether they share out whole experts."""
QUESTIONS = [
    {"kv_cache_dtype": dtype, "max_model_len": length, "max_num_batched_tokens": batch}
    for dtype in ("auto", "fp8")
    for length in (4096, 32768)
    for batch in (2048, 8192)
]
_COMPLETIONS: dict[str, dict[str, Any]] = {
    "BailingMoeV2ForCausalLM": {"embedding_dropout": 0.0},
    "DeepseekV4ForCausalLM": {
        "hc_eps": 1e-6,
        "hc_sinkhorn_iters": 20,
        "swiglu_limit": 10.0,
        "norm_topk_prob": True,
        "hidden_act": "silu",
        "scoring_func": "sqrtsoftplus",
        "topk_method": "noaux_tc",
        "routed_scaling_factor": 1.5,
        "rms_norm_eps": 1e-6,
    },
    "InternLM2ForCausalLM": {"rope_theta": 1000000},
    "InternLM3ForCausalLM": {"rope_theta": 50000000},
    "Lfm2ForCausalLM": {"block_dim": 2048, "conv_dim": 2048, "conv_dim_out": 2048},
    "LongcatFlashForCausalLM": {"mla_scale_q_lora": True, "mla_scale_kv_lora": True},
    "MiMoV2FlashForCausalLM": {"layernorm_epsilon": 1e-5},
    "Qwen3VLMoeForConditionalGeneration": {"text_config": {"norm_topk_prob": True}},
    "XLMRobertaForSequenceClassification": {"position_embedding_type": "absolute"},
    "XLMRobertaModel": {"position_embedding_type": "absolute"},
    "MiMoForCausalLM": {"sliding_window": None},  # its own config class drops a window that is switched off
    "MiniMaxM2ForCausalLM": {"scoring_func": "sigmoid"},
}
FILES = {
    "KimiK25ForConditionalGeneration": {
        "preprocessor_config.json": {
            "image_processor_type": "Qwen2VLImageProcessor",
            "media_proc_cfg": {
                "in_patch_limit": 16384,
                "patch_size": 14,
                "merge_kernel_size": [2, 2],
                "temporal_merge_kernel_size": 4,
                "image_mean": [0.5, 0.5, 0.5],
                "image_std": [0.5, 0.5, 0.5],
            },
        }
    }
}
_QUANTIZATION = ("quantization_config", "compression_config", "auto_map")


def cases() -> Iterator[dict[str, Any]]:
    """Yield every case as ``probe.py`` reads it: unquantized, in bfloat16."""
    for name, config, pooling in models():
        architecture = architecture_of(name, config, pooling=pooling)
        for ranks in RANKS:
            yield {
                "id": f"{name}|tp{ranks}",
                "config": complete(config, architecture),
                "files": FILES.get(config["architectures"][0], {}),
                "pooling": pooling,
                "tensor_parallel_size": ranks,
                "block_size": _block_size(architecture),
                "kv_bytes": KV_BYTES,
                "options": {"runner": "pooling"} if pooling else {},
                **_state_dtype(architecture),
                **_packed(architecture),
                "questions": [_question(architecture, question) for question in QUESTIONS],
            }


def layout_cases() -> Iterator[dict[str, Any]]:
    """Yield every mixture over ranks of data and expert parallelism, with one question about its cache."""
    for case in cases():
        experts = any(layer.mixture for layer in architecture_of(case["id"], case["config"], pooling=False).layers)
        if not case["id"].endswith("|tp1") or not experts:
            continue
        for ranks, data_ranks, expert_parallel in LAYOUTS:
            yield {
                **case,
                "id": f"{case['id'].removesuffix('1')}{ranks}|dp{data_ranks}{'|ep' * expert_parallel}",
                "tensor_parallel_size": ranks,
                "data_parallel_size": data_ranks,
                "expert_parallel": expert_parallel,
                "questions": case["questions"][:1],
            }


def class_cases() -> Iterator[dict[str, Any]]:
    """Yield one small model of each further class, over one and two ranks, with one question about its cache."""
    question = {"kv_cache_dtype": "auto", "max_model_len": 2048, "max_num_batched_tokens": 2048}
    for line in (FOLDER / "classes.jsonl").read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        for ranks in (1, 2):
            yield {
                **case,
                "id": f"{case['name']}|tp{ranks}",
                "tensor_parallel_size": ranks,
                "block_size": 32,
                "kv_bytes": KV_BYTES,
                "questions": [question],
            }


def models() -> list[tuple[str, dict[str, Any], bool]]:
    """Return name, config and "only pooled" of each model asked about, by class and size."""
    found: dict[str, list[tuple[int, str, dict[str, Any], bool]]] = {}
    for model in load_catalog().models:
        config = unquantized(dict(model.config))
        pooling = not set(model.tasks).isdisjoint(("embedding", "rerank"))
        key = f"{config['architectures'][0]} {'pooling' if pooling else ''}"
        found.setdefault(key, []).append((model.parameters, model.repository, config, pooling))
    for line in (FOLDER / "configs.jsonl").read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        config = unquantized(case["config"])
        found[f"{config['architectures'][0]} {case['name']}"] = [(0, case["name"], config, case["pooling"])]
    chosen = []
    for _, members in sorted(found.items()):
        ordered = sorted(members, key=lambda member: member[:2])
        alike = ordered[0][2] == ordered[-1][2]
        chosen += [ordered[0][1:]] if alike else [ordered[0][1:], ordered[-1][1:]]
    return [model for model in chosen if _sized(*model)]


def unquantized(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config without what makes it quantized, in itself and in the text model inside."""
    kept = {key: value for key, value in config.items() if key not in _QUANTIZATION}
    if isinstance(kept.get("text_config"), dict):
        kept["text_config"] = unquantized(kept["text_config"])
    return kept


def architecture_of(name: str, config: dict[str, Any], *, pooling: bool) -> Architecture:
    """Return the planner's view of a config."""
    architecture, _ = parse_config(config, where=name)
    return as_pooling(architecture) if pooling and not architecture.is_pooling else architecture


def _sized(name: str, config: dict[str, Any], pooling: bool) -> bool:
    try:
        return bool(architecture_of(name, config, pooling=pooling).layers)
    except PlannerError:
        return False


def _question(architecture: Architecture, question: dict[str, Any]) -> dict[str, Any]:
    """Return a question as it is put on GPUs, where an FP8 cache of sparse attention has a packed format."""
    latents = (layer.attention.latent for layer in architecture.layers if layer.attention)
    packed = question["kv_cache_dtype"] == "fp8" and any(latent and latent.index_topk for latent in latents)
    compressed = any(layer.attention and layer.attention.compressed for layer in architecture.layers)
    return {**question, "kv_cache_dtype": "fp8_ds_mla"} if packed or compressed else question


def _block_size(architecture: Architecture) -> int:
    """Return the block size to ask with: the engine's attention on CPUs takes sliding windows only in 32."""
    windows = any(x.attention and (x.attention.window or x.attention.chunk) for x in architecture.layers)
    return 32 if windows or architecture.has_state else 16


def _state_dtype(architecture: Architecture) -> dict[str, str]:
    """Return the dtype recurrent states have on GPUs; on some CPUs the engine makes them float32."""
    states = [layer.state for layer in architecture.layers if layer.state]
    if not states or states[0].kind not in ("mamba1", "mamba2", "gated-delta"):
        return {}
    return {"mamba_ssm_cache_dtype": "float32" if states[0].state_dtype_bytes == 4 else "bfloat16"}


def _packed(architecture: Architecture) -> dict[str, Any]:
    """Return how compressed attention's caches are cut on GPUs: in blocks of 256 tokens, pages side by side."""
    if not any(layer.attention and layer.attention.compressed for layer in architecture.layers):
        return {}
    return {"block_size": 256, "kv_layout": "BLHNC"}


def complete(config: dict[str, Any], architecture: Architecture) -> dict[str, Any]:
    """Return a config with the keys the engine reads but sizes do not depend on."""
    added = _COMPLETIONS.get(config["architectures"][0], {})
    full = {**config, **added}
    if "text_config" in added:
        full["text_config"] = {**added["text_config"], **config["text_config"]}
    for key in ("rope_scaling", "rope_parameters"):
        rope = full.get(key)
        if isinstance(rope, dict) and "longrope" in (rope.get("type"), rope.get("rope_type")):
            factors = [1.0] * (architecture.rotaries[0].width // 2)
            scales = {"short_mscale": 1.0, "long_mscale": 1.0}
            full[key] = {"short_factor": factors, "long_factor": factors, **scales, **rope}
    return full
