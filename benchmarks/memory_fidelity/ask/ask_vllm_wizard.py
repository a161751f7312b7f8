"""vllm-wizard: ``plan --json``; the longest context at a concurrency of one is its KV cache in tokens.

Told the number of parameters, or a GPU it knows, it ignores config.json and the memory given: it gets neither.
"""

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer the cases on stdin."""
    try:
        release = version("vllm-wizard")
    except PackageNotFoundError:
        sys.exit(3)
    answers = {case["id"]: tokens(case) for case in json.load(sys.stdin)}
    json.dump({"peer": "vllm-wizard", "version": release, "tokens": answers}, sys.stdout)


def tokens(case: dict[str, Any]) -> int | None:
    """Return the KV cache in tokens, as the tool has it."""
    command = [
        str(Path(sys.executable).parent / "vllm-wizard"),
        *("plan", "--model", case["folder"], "--gpu", "other", "--vram-gb", f"{case['memory_gib']:.2f}"),
        *("--gpus", str(case["ranks"])),
        *("--tensor-parallel-size", str(case["ranks"]), "--max-model-len", str(case["context"])),
        *("--gpu-memory-utilization", str(case["utilization"]), "--concurrency", "1", "--json"),
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        return None
    # It prints through a terminal renderer, which breaks long strings over lines.
    answer = json.loads(found.stdout, strict=False)
    return int(answer["feasibility"]["max_context_at_concurrency"])


if __name__ == "__main__":
    main()
