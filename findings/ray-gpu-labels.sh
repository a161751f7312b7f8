#!/usr/bin/env bash
# Ray gives a Quadro RTX 6000 (Turing, 24 GB) and an RTX 6000 Ada (48 GB) the same accelerator_type.
#
# Ray 2.60.0 cuts the driver's name after its first number, so that generation and memory are lost. A replica that asks for
# "RTX-6000" lands on either card, and an engine sized for one does not start, or has other kernels, on the other. The two
# sizes of A100 are one label too, and so are an H20 and an H20-3e. Only a resource of one's own tells them apart.
#
# Seen with ray 2.60.0 (its nvidia_gpu.py) on Python 3.11:
#   Quadro RTX 6000                -> RTX-6000
#   NVIDIA RTX 6000 Ada Generation -> RTX-6000
#   NVIDIA A100-SXM4-40GB          -> A100
#   NVIDIA A100-SXM4-80GB          -> A100
#   NVIDIA H20                     -> H20
#   NVIDIA H20-3e                  -> H20
# Exits with 1 when it says otherwise.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "${folder}"' EXIT
python3 -m venv "${folder}/env"
"${folder}/env/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "${folder}/ray" ray==2.60.0

cat >"${folder}/ask.py" <<'PY'
import importlib.util
import pathlib
import sys
import types

for name in ("ray", "ray._private", "ray._private.accelerators"):
    sys.modules[name] = types.ModuleType(name)
for name, part in (("accelerators.accelerator", "AcceleratorManager"), ("ray_constants", "env_bool")):
    sys.modules[f"ray._private.{name}"] = types.SimpleNamespace(**{part: object})  # what the module imports of Ray
path = pathlib.Path(sys.argv[1], "ray/ray/_private/accelerators/nvidia_gpu.py")
spec = importlib.util.spec_from_file_location("nvidia_gpu", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
EXPECTED = {
    "Quadro RTX 6000": "RTX-6000",
    "NVIDIA RTX 6000 Ada Generation": "RTX-6000",
    "NVIDIA A100-SXM4-40GB": "A100",
    "NVIDIA A100-SXM4-80GB": "A100",
    "NVIDIA H20": "H20",
    "NVIDIA H20-3e": "H20",
}
seen = {card: module.NvidiaGPUAcceleratorManager._gpu_name_to_accelerator_type(card) for card in EXPECTED}
for card, label in seen.items():
    print(f"{card:<30} -> {label}")
sys.exit(seen != EXPECTED)
PY
"${folder}/env/bin/python" "${folder}/ask.py" "${folder}"
