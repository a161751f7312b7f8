"""aiconfigurator: ``estimate_kv_cache``, its native memory model, with the newest vLLM data of the system."""

import json
import os
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

SYSTEMS = {
    "NVIDIA A100-SXM4-40GB": "a100_sxm",
    "NVIDIA A100-SXM4-80GB": "a100_sxm",
    "NVIDIA H100 80GB HBM3": "h100_sxm",
    "NVIDIA H200": "h200_sxm",
    "NVIDIA L40S": "l40s",
}


def main() -> None:
    """Answer the cases on stdin."""
    try:
        release = version("aiconfigurator-core")
    except PackageNotFoundError:
        sys.exit(3)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    answers = {case["id"]: tokens(case) for case in json.load(sys.stdin)}
    json.dump({"peer": "aiconfigurator", "version": release, "tokens": answers}, out)


def tokens(case: dict[str, Any]) -> int | None:
    """Return the KV cache in tokens, as the tool has it."""
    memory = import_module("aiconfigurator_core.sdk.memory")
    database = import_module("aiconfigurator_core.sdk.perf_database")
    system = SYSTEMS.get(case["gpu"])
    if system is None:
        return None
    try:
        found = memory.estimate_kv_cache(
            case["folder"],
            system,
            "vllm",
            database.get_latest_database_version(system, "vllm"),
            max_num_tokens=case["batched_tokens"],
            max_batch_size=case["sequences"],
            memory_fraction_kind="of_total",
            memory_fraction_value=case["utilization"],
            tp_size=case["ranks"],
            moe_tp_size=case["ranks"],
            moe_ep_size=1,
            gpu_memory_capacity_bytes_override=round(case["memory_gib"] * 2**30),
        )
    except Exception:  # whatever it raises, it has no answer
        return None
    return int(found["total_kv_size_tokens"])


if __name__ == "__main__":
    main()
