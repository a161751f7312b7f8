#!/usr/bin/env bash
# Reading the config.json of a Qwen3-VL mixture with transformers and saving it again ties the output head of its text part.
#
# The published file says `tie_word_embeddings: false` at its top and nothing in `text_config`. Qwen3VLMoeTextConfig of
# transformers 5.19.0 assumes true where the key is absent (the other Qwen3-VL text class has no such field), and writes
# that out. The saved file says false and true at once; who reads the text part alone leaves out an untied output head.
#
# Seen with transformers 5.19.0 on Python 3.11:
#   top False, text_config absent  ->  saved: top False, text_config True
# Exits with 1 when it says otherwise.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "${folder}"' EXIT
python3 -m venv "${folder}/env"
"${folder}/env/bin/pip" install --quiet --disable-pip-version-check transformers==5.19.0

cat >"${folder}/ask.py" <<'PY'
import json
import pathlib
import sys

from transformers import AutoConfig

folder = pathlib.Path(sys.argv[1], "model")
folder.mkdir()
path = folder / "config.json"
text = {"model_type": "qwen3_vl_moe_text", "hidden_size": 2048, "num_experts": 128}
path.write_text(json.dumps({"model_type": "qwen3_vl_moe", "tie_word_embeddings": False, "text_config": text}))
AutoConfig.from_pretrained(str(folder)).save_pretrained(str(folder))
saved = json.loads(path.read_text())
seen = (saved.get("tie_word_embeddings"), saved["text_config"].get("tie_word_embeddings"))
print(f"top False, text_config absent  ->  saved: top {seen[0]}, text_config {seen[1]}")
sys.exit(seen != (False, True))
PY
"${folder}/env/bin/python" "${folder}/ask.py" "${folder}" 2>/dev/null
