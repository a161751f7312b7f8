"""What drafts tokens (heads of a checkpoint, a model of its own): the engine's answers beside the planner's."""

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.engine_oracle.answers import RULES
from benchmarks.engine_oracle.cases import FOLDER, KV_BYTES, architecture_of, cases
from planner.catalog import load_catalog
from planner.engine.profile import load_profile
from planner.engine.speculation import speculation_of
from planner.facts.quantization import Quantization
from planner.memory.started import started
from planner.tensors.kv_cache import layout
from planner.tensors.kv_rules import kv_rules
from planner.tensors.weights import Rank, parameter_bytes, rotary_bytes

ENGINE = "0.32.0"
RECORD = FOLDER / "drafts.jsonl"
_HEADS = (
    ("Qwen/Qwen3.5-0.8B", 1, 3), ("Qwen/Qwen3.5-0.8B", 2, 3), ("Qwen/Qwen3.5-35B-A3B", 2, 2),
    ("Qwen/Qwen3-Next-80B-A3B-Thinking", 2, 2), ("deepseek-ai/DeepSeek-V3.2", 8, 1), ("deepseek-ai/DeepSeek-R1", 8, 2),
    ("zai-org/GLM-4.5-Air", 2, 1), ("zai-org/GLM-4.7-Flash", 1, 1), ("XiaomiMiMo/MiMo-7B-Base", 1, 1),
)  # fmt: skip
_MODELS = (("Qwen/Qwen3-8B", "Qwen/Qwen3-0.6B", 1, 4), ("Qwen/Qwen3-8B", "Qwen/Qwen3-0.6B", 2, 4))
LLAMA_HEAD = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 4096,
    "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 1,
    "rms_norm_eps": 1e-05, "max_position_embeddings": 2048, "tie_word_embeddings": False, "torch_dtype": "float16",
    "vocab_size": 128256, "draft_vocab_size": 32000,
}  # fmt: skip
_QWEN_LAYER = {
    **LLAMA_HEAD, "hidden_size": 5120, "intermediate_size": 25600, "num_attention_heads": 64, "head_dim": 128,
    "vocab_size": 151936, "torch_dtype": "bfloat16",
}  # fmt: skip
QWEN_HEAD = {
    "architectures": ["Eagle3Speculator"], "speculators_model_type": "eagle3", "speculators_version": "0.1.0",
    "draft_vocab_size": 32000, "norm_before_residual": True, "target_hidden_size": None,
    "transformer_layer_config": {key: value for key, value in _QWEN_LAYER.items() if key != "draft_vocab_size"},
    "speculators_config": {
        "algorithm": "eagle3", "default_proposal_method": "greedy",
        "proposal_methods": [{"proposal_type": "greedy", "speculative_tokens": 3}],
        "verifier": {"name_or_path": "Qwen/Qwen3-32B", "architectures": ["Qwen3ForCausalLM"]},
    },
}  # fmt: skip
"""A head of 1,560,616,576 parameters as published, those of two tables that say which tokens it drafts among them."""
_EAGLE3 = (
    ("meta-llama/Llama-3.1-8B-Instruct", LLAMA_HEAD, 1), ("meta-llama/Llama-3.1-8B-Instruct", LLAMA_HEAD, 4),
    ("Qwen/Qwen3-32B", QWEN_HEAD, 1), ("Qwen/Qwen3-32B", QWEN_HEAD, 2),
)  # fmt: skip
_QUESTIONS = [
    {"kv_cache_dtype": "auto", "max_model_len": length, "max_num_batched_tokens": 8192} for length in (4096, 32768)
]


def draft_cases() -> Iterator[dict[str, Any]]:
    """Yield checkpoints with heads, and models with another one that drafts for them, as ``probe.py`` reads them."""
    catalog = load_catalog()
    whole = {case["id"]: case for case in cases()}
    for name, ranks, tokens in _HEADS:
        stated = {"method": "mtp", "num_speculative_tokens": tokens}
        yield _case(whole, name, catalog.find(name)[0].config, ranks, stated)
    for name, drafter, ranks, tokens in _MODELS:
        stated = {"method": "draft_model", "num_speculative_tokens": tokens}
        case = _case(whole, name, catalog.find(name)[0].config, ranks, stated)
        yield {**case, "drafter": dict(catalog.find(drafter)[0].config), "prefix": "draft_model"}
    for name, head, ranks in _EAGLE3:
        case = _case(
            whole, name, catalog.find(name)[0].config, ranks, {"method": "eagle3", "num_speculative_tokens": 3}
        )
        yield {**case, "drafter": head}


def _case(
    whole: dict[str, dict[str, Any]], name: str, config: Any, ranks: int, stated: dict[str, Any]
) -> dict[str, Any]:
    known = whole.get(f"{name}|tp{ranks}") or {
        "config": {key: value for key, value in config.items() if key != "quantization_config"},
        "block_size": 16,
    }
    return {
        **known,
        "id": f"{name}|tp{ranks}|{stated['method']}{stated['num_speculative_tokens']}",
        "pooling": False,
        "tensor_parallel_size": ranks,
        "kv_bytes": KV_BYTES,
        "options": {"speculative_config": stated},
        "questions": _QUESTIONS,
    }


def draft_answer(case: dict[str, Any]) -> dict[str, Any]:
    """Return the planner's answer to a case: the bytes of what drafts, and the cache of both together."""
    profile, ranks = load_profile(ENGINE), int(case["tensor_parallel_size"])
    plain = architecture_of(case["id"], case["config"], pooling=False)
    drafter = architecture_of(case["id"], case["drafter"], pooling=False) if "drafter" in case else None
    flags = {"speculative": speculation_of(case["options"]["speculative_config"])}
    both = started(plain, flags, profile, drafter)
    rank = Rank(tensor_ranks=ranks, expert_tensor_ranks=ranks, rules=RULES)
    sizes = [parameter_bytes(one, Quantization(), rank) - rotary_bytes(one, rank) for one in (both, plain)]
    tables = rotary_bytes(both.drafter, rank) if both.drafter else 0
    cache = layout(both, rules=kv_rules(profile), tensor_parallel_size=ranks, block_size=int(case["block_size"]))
    blocks = cache.blocks(int(case["kv_bytes"]))
    return {
        "draft_bytes": sizes[0] - sizes[1] - tables,
        "kv": [
            {
                "groups": [len(group.layers) for group in cache.groups],
                "blocks": blocks,
                "max_concurrency": cache.max_concurrency(blocks, one["max_model_len"], one["max_num_batched_tokens"]),
            }
            for one in case["questions"]
        ],
    }


def record_drafts(answers: dict[str, dict[str, Any]]) -> None:
    """Write what the engine said of each case."""
    kept = ("draft_bytes", "kv")
    lines = [
        json.dumps({"case": case["id"]} | {key: answers[case["id"]][key] for key in kept if key in answers[case["id"]]})
        for case in draft_cases()
        if case["id"] in answers
    ]
    RECORD.write_text("\n".join(lines) + "\n", encoding="utf-8")


def recorded_drafts() -> dict[str, dict[str, Any]]:
    """Return what the engine said, by case."""
    lines = RECORD.read_text(encoding="utf-8").splitlines()
    return {answer["case"]: answer for answer in map(json.loads, lines)}
