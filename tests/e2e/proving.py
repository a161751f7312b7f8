"""What the proof runs share: the folder that ``tests/e2e/run`` prepared, and fleets of tiny models."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import plans
from staged import Stage, stage

from planner.plan import Plan, ServerPlan

KEY = "sk-e2e-0123456789"
ENGINE_VERSION = "0.32.0"
# Four layers of keys and values for two heads of 64 numbers in bfloat16 are 2048 bytes a token.
KV_CACHE_BYTES = 256 << 20
KV_CACHE_TOKENS = KV_CACHE_BYTES // 2048


def prepared() -> Path:
    """Return the folder with engine, models, root file system and Docker."""
    folder = os.environ.get("PLANNER_E2E_DIR")
    assert folder, "start these tests with tests/e2e/run, which prepares what they need"
    return Path(folder)


def tiny(name: str, models: Path, port: int, **changes: Any) -> ServerPlan:  # noqa: ANN401 - any field of ServerPlan
    """Return a server of a tiny model, which needs no GPU."""
    facts: dict[str, Any] = {
        "repository": str(models / f"tiny {name}"),
        "local": True,
        "revision": "",
        "port": port,
        "max_model_len": 2048,
        "max_num_seqs": 8,
        "max_num_batched_tokens": 2048,
        "request_tokens": 1536,
        "output_tokens": 1024,
        "kv_cache_memory_bytes": KV_CACHE_BYTES,
        "kv_cache_tokens": KV_CACHE_TOKENS,
        "gpu_memory_utilization": 0.02,
    }
    return plans.server(name, **(facts | changes))


def tiny_fleet(models: Path, *ports: int) -> Plan:
    """Return two servers that share a GPU which is not there."""
    servers = (tiny("coder", models, ports[0]), tiny("general", models, ports[1]))
    return plans.plan(*servers, engine_version=ENGINE_VERSION)


def real_stage(plan: Plan, folder: Path, **environment: str) -> Stage:
    """The fleet with the real engine first on PATH; nvidia-smi stays a stand-in, for there is no GPU to ask."""
    staged = stage(plan, folder, **environment)
    staged.environment["PATH"] = f"{prepared() / 'vllm' / 'bin'}:{staged.environment['PATH']}"
    return staged


def copy_root(target: Path) -> Path:
    """Copy the prepared root file system, without what a container mounts itself."""
    subprocess.run(["cp", "--archive", prepared() / "root", target], check=True)
    for name in ("dev", "proc", "sys"):
        shutil.rmtree(target / name, ignore_errors=True)
        (target / name).mkdir(exist_ok=True)
    return target


def in_order(text: str, *needles: str) -> None:
    """Assert that the needles stand in the text one after another."""
    position = 0
    for needle in needles:
        found = text.find(needle, position)
        assert found >= 0, f"{needle!r} is missing, or stands too early, in:\n{text}"
        position = found + len(needle)
