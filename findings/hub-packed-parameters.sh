#!/usr/bin/env bash
# The Hub's library counts an 8B model as 1.1B when its weights are AWQ, and as 4.5B or 8.5B when they are NVFP4.
#
# huggingface_hub 2.4.0 multiplies the shapes in a safetensors header, whatever they hold: eight 4-bit codes in an I32 are
# one parameter, two in a U8 are one, an F4 is one, and every scale and zero point is one more. A tool that sizes a model
# by `parameter_count` times the bits of its format is off by a factor of two to eight, and not for all exports alike.
#
# Seen with huggingface_hub 2.4.0 on Python 3.11 (one matrix of 4096 x 4096, which are 16777216 parameters):
#   BF16              {'BF16': 16777216}, 1.000 of the parameters
#   AWQ, group 128    {'I32': 2113536, 'F16': 131072}, 0.134 of the parameters
#   NVFP4 packed      {'U8': 8388608, 'F8_E4M3': 1048576}, 0.562 of the parameters
#   NVFP4 as F4       {'F4': 16777216, 'F8_E4M3': 1048576}, 1.062 of the parameters
# Exits with 1 when it says otherwise.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "${folder}"' EXIT
python3 -m venv "${folder}/env"
"${folder}/env/bin/pip" install --quiet --disable-pip-version-check huggingface_hub==2.4.0

cat >"${folder}/ask.py" <<'PY'
import json
import math
import pathlib
import struct
import sys

from huggingface_hub import parse_local_safetensors_file_metadata

BITS = {"BF16": 16, "F16": 16, "I32": 32, "U8": 8, "F8_E4M3": 8, "F4": 4}
FORMS = {
    "BF16": [("weight", "BF16", [4096, 4096])],
    "AWQ, group 128": [("qweight", "I32", [4096, 512]), ("qzeros", "I32", [32, 512]), ("scales", "F16", [32, 4096])],
    "NVFP4 packed": [("weight", "U8", [4096, 2048]), ("weight_scale", "F8_E4M3", [4096, 256])],
    "NVFP4 as F4": [("weight", "F4", [4096, 4096]), ("weight_scale", "F8_E4M3", [4096, 256])],
}
path = pathlib.Path(sys.argv[1], "model.safetensors")
seen = []
for form, tensors in FORMS.items():
    header, end = {}, 0
    for name, dtype, shape in tensors:
        begin, end = end, end + math.prod(shape) * BITS[dtype] // 8
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))
    counts = parse_local_safetensors_file_metadata(path).parameter_count
    seen.append(counts)
    print(f"{form:<18}{counts}, {sum(counts.values()) / 4096**2:.3f} of the parameters")
expected = [
    {"BF16": 16777216},
    {"I32": 2113536, "F16": 131072},
    {"U8": 8388608, "F8_E4M3": 1048576},
    {"F4": 16777216, "F8_E4M3": 1048576},
]
sys.exit(seen != expected)
PY
"${folder}/env/bin/python" "${folder}/ask.py" "${folder}"
