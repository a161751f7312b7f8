"""Read configs with transformers and write them again, as every fine-tune or quantization made today does.

Runs in an environment with transformers 5 (see README.md). Reads ``{"name": ..., "config": {...}}`` per line, prints
``{"name": ..., "saved": {...}}`` or ``{"name": ..., "error": ...}`` per line.
"""

import json
import logging
import pathlib
import sys
import tempfile

from transformers import AutoConfig


def main() -> None:
    """Answer every line of standard input."""
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        case = json.loads(line)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "config.json")
            path.write_text(json.dumps(case["config"]))
            try:
                AutoConfig.from_pretrained(folder, trust_remote_code=False).save_pretrained(folder)
                answer = {"name": case["name"], "saved": json.loads(path.read_text())}
            except Exception as error:  # classes the library does not have
                answer = {"name": case["name"], "error": " ".join(f"{type(error).__name__}: {error}".split())[:120]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
