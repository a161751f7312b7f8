"""Weight bytes of one rank against what real start-ups logged."""

from typing import Any

import pytest

from planner.config_json import parse_config
from planner.memory.weights import weights_bytes
from planner.units import GIB

LLAMA_8B: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
    "max_position_embeddings": 131072, "torch_dtype": "bfloat16", "tie_word_embeddings": False,
    "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("ranks", "stages", "stage", "logged_gib"),
    [(1, 1, 0, 14.99), (2, 1, 0, 7.51), (4, 1, 0, 3.77), (1, 2, 0, 7.51), (1, 4, 0, 4.26)],
)
def test_llama_8b_loads_what_vllm_logged(ranks: int, stages: int, stage: int, logged_gib: float) -> None:
    architecture, quantization = parse_config(LLAMA_8B, where="test")

    size = weights_bytes(
        architecture,
        quantization,
        tensor_parallel_size=ranks,
        pipeline_parallel_size=stages,
        pipeline_rank=stage,
    )

    assert round(size / GIB, 2) == logged_gib
