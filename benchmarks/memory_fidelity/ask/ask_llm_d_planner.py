"""llm-d-planner: ``allocatable_kv_cache_memory`` over ``kv_cache_req``; it is given the parameters it reads online."""

import json
import os
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


class Config:
    """A config.json as attributes, the way transformers presents it."""

    def __init__(self, data: dict[str, Any]) -> None:
        """Wrap nested objects too."""
        for key, value in data.items():
            setattr(self, key, Config(value) if isinstance(value, dict) else value)

    def to_dict(self) -> dict[str, Any]:
        """Return the wrapped object."""
        return {key: value.to_dict() if isinstance(value, Config) else value for key, value in vars(self).items()}


def main() -> None:
    """Answer the cases on stdin."""
    try:
        release = version("llm-d-planner")
    except PackageNotFoundError:
        sys.exit(3)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    answers = {case["id"]: tokens(case) for case in json.load(sys.stdin)}
    json.dump({"peer": "llm-d-planner", "version": release, "tokens": answers}, out)


def load(folder: str) -> Any:
    """Return the model's configuration, read by transformers where that is installed."""
    try:
        return import_module("transformers").AutoConfig.from_pretrained(folder)
    except Exception:  # not installed, or too old for the model
        return Config(json.loads((Path(folder) / "config.json").read_text(encoding="utf-8")))


def tokens(case: dict[str, Any]) -> int | None:
    """Return the KV cache in tokens, as the tool has it."""
    peer: Any = import_module("planner.capacity_planner")
    config = load(case["folder"])
    context = case["context"]
    peer.model_params_by_dtype = lambda *_, **__: {"BF16": case["parameters"]}
    try:
        pool = peer.allocatable_kv_cache_memory(
            case["model"],
            config,
            case["memory_gib"],
            case["utilization"],
            tp=case["ranks"],
            max_model_len=context,
        )
        return int(pool / peer.kv_cache_req(case["model"], config, context) * context)
    except Exception:  # whatever it raises, it has no answer
        return None


if __name__ == "__main__":
    main()
