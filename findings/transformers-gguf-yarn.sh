#!/usr/bin/env bash
# transformers reads from a GGUF file that its context is 131072 tokens, but not the YaRN scaling that makes them so.
#
# transformers 5.24.0 has no place for `rope.scaling.*` of llama, qwen3 and qwen3moe: `rope.scaling.type` yarn with its
# factor and its original length become the unscaled rope, in silence. max_position_embeddings keeps the long context, and
# so does a config.json saved from it; beyond 32768 tokens its positions are not those of the file.
#
# Seen with transformers 5.24.0 and gguf 0.19.0 on Python 3.11 (files with YaRN, 4 x 32768 tokens):
#   llama     131072 positions, {'rope_theta': 1000000.0, 'rope_type': 'default'}
#   qwen3     131072 positions, {'rope_theta': 1000000.0, 'rope_type': 'default'}
#   qwen3moe  131072 positions, {'rope_theta': 1000000.0, 'rope_type': 'default'}
# Exits with 1 when it says otherwise.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "${folder}"' EXIT
python3 -m venv "${folder}/env"
"${folder}/env/bin/pip" install --quiet --disable-pip-version-check transformers==5.24.0 gguf==0.19.0

cat >"${folder}/ask.py" <<'PY'
import importlib.machinery
import sys
import types

import gguf
import numpy
import transformers.modeling_gguf_pytorch_utils as reader
from transformers import AutoConfig

torch = types.ModuleType("torch")  # the reader of configs imports it, for the tensors that nobody asks for here
torch.__spec__ = importlib.machinery.ModuleSpec("torch", None)
torch.__getattr__ = lambda name: object
sys.modules["torch"] = torch
reader.is_torch_available = lambda: True

folder = sys.argv[1]
seen = []
for kind in ("llama", "qwen3", "qwen3moe"):
    file = gguf.GGUFWriter(f"{folder}/model.gguf", kind)
    file.add_block_count(2)
    file.add_context_length(131072)
    file.add_embedding_length(1024)
    file.add_feed_forward_length(2048)
    file.add_head_count(8)
    file.add_head_count_kv(2)
    file.add_key_length(128)
    file.add_value_length(128)
    file.add_layer_norm_rms_eps(1e-6)
    file.add_rope_dimension_count(128)
    file.add_rope_freq_base(1e6)
    file.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    file.add_rope_scaling_factor(4.0)
    file.add_rope_scaling_orig_ctx_len(32768)
    file.add_vocab_size(1000)
    file.add_tensor("token_embd.weight", numpy.zeros((1000, 1024), dtype=numpy.float16))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()
    config = AutoConfig.from_pretrained(folder, gguf_file="model.gguf")
    seen.append((config.max_position_embeddings, config.rope_parameters))
    print(f"{kind:<10}{seen[-1][0]} positions, {seen[-1][1]}")
sys.exit(seen != [(131072, {"rope_theta": 1e6, "rope_type": "default"})] * 3)
PY
"${folder}/env/bin/python" "${folder}/ask.py" "${folder}" 2>/dev/null
