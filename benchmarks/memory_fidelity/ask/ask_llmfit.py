"""llmfit: ``plan`` at two contexts gives its memory at no context and per token; only models of its own database."""

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer the cases on stdin."""
    try:
        release = version("llmfit")
    except PackageNotFoundError:
        sys.exit(3)
    answers = {case["id"]: tokens(case) for case in json.load(sys.stdin)}
    json.dump({"peer": "llmfit", "version": release, "tokens": answers}, sys.stdout)


def tokens(case: dict[str, Any]) -> int | None:
    """Return the KV cache in tokens, as the tool has it."""
    short, long = (needed(case["model"], context) for context in (8192, 16384))
    if short is None or long is None or long <= short:
        return None
    per_token = (long - short) / 8192
    budget = case["memory_gib"] * case["utilization"] * case["ranks"]
    return int((budget - (short - 8192 * per_token)) / per_token)


def needed(model: str, context: int) -> float | None:
    """Return the memory it plans for one request of a length."""
    command = [
        str(Path(sys.executable).parent / "llmfit"),
        *("--json", "plan", model, "--context", str(context), "--quant", "F16"),
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        return None
    answer = json.loads(found.stdout)
    return float(answer["minimum"]["vram_gb"]) if answer["model_name"].lower() == model.lower() else None


if __name__ == "__main__":
    main()
