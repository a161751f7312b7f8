"""Fleets of real nodes, whose roles name no models: all of the shipped catalog that suits a task may serve it.

The same seed gives the same fleet on any machine.
"""

import random
import tempfile
from pathlib import Path
from typing import Any

import yaml

from planner.catalog import load_catalog
from planner.fleet import Fleet, load_fleet

SHAPES: dict[str, dict[str, Any]] = {
    "1 × 96 GB": {"rig": {"gpu": "rtx-pro-6000-blackwell"}},
    "4 × 3090": {"rig": {"gpu": "RTX 3090", "gpus": 4}},
    "2 × 48 + 96 GB": {"old": {"gpu": "RTX 6000 Ada", "gpus": 2}, "new": {"gpu": "rtx-pro-6000-blackwell"}},
    "8 × H100": {"node": {"gpu": "h100-sxm-80gb", "gpus": 8}},
    "lab of 5 kinds": {
        "server": {"gpu": "A100 80GB SXM4", "gpus": 4},
        "desk": {"gpu": "L40S", "gpus": 2},
        "new": {"gpu": "rtx-pro-6000-blackwell"},
        "old": {"gpu": "RTX 3090", "gpus": 2, "count": 2},
        "spare": {"gpu": "RTX 4090"},
    },
}

HUGE = "10,000 GPUs"
"""1,250 nodes of eight GPUs of one kind, 40 roles of 20 models each."""

_TASKS = ("code", "general", "embedding", "rerank", "code", "general")


def fleet(shape: str, seed: int) -> Fleet:
    """Return a fleet of four to six roles on the nodes of a shape."""
    rng = random.Random(f"{shape} {seed}")
    roles = {f"role-{number}-{task}": _role(task, rng) for number, task in enumerate(_TASKS[: rng.randint(4, 6)])}
    return _read(SHAPES[shape], roles)


def huge(seed: int) -> Fleet:
    """Return a fleet of 10,000 GPUs, whose roles leave the number of servers open and fill about nine tenths of it.

    Each has twenty of the catalog's models of 3 to 130 billion parameters, and 2,500 to 10,000 requests at once.
    """
    rng, catalog = random.Random(seed), load_catalog()
    names = sorted({one.name for one in catalog.models if "general" in one.tasks and 3e9 < one.parameters < 130e9})
    nodes = {"h100": {"gpu": "h100-sxm-80gb", "gpus": 8, "count": 1250}}
    return _read(nodes, {f"role-{number:02}": _open(rng.sample(names, 20), number) for number in range(40)})


def _open(models: list[str], number: int) -> dict[str, Any]:
    target = 2500 * (1 + number % 4)
    return {
        "task": "general",
        "models": sorted(models),
        "context": {"min": "8k", "wish": "16k"},
        "concurrency": {"min": target // 2, "target": target},
        "replicas": "auto",
        "weight": 1 + number % 3,
    }


def _read(nodes: dict[str, Any], roles: dict[str, Any]) -> Fleet:
    engine = {"name": "vllm", "version": "0.33.0"}
    document = {"name": "shape", "engine": engine, "nodes": nodes, "roles": roles}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.yaml"
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        return load_fleet(path, load_catalog())


def _role(task: str, rng: random.Random) -> dict[str, Any]:
    short = task in ("embedding", "rerank")
    context = rng.choice((512, 1024)) if short else rng.choice((4096, 8192, 16384))
    return {
        "task": task,
        "context": {"min": context, "wish": 4 * context},
        "concurrency": {"min": rng.choice((1, 2, 4)), "target": rng.choice((8, 16, 32))},
        "weight": rng.randint(1, 3),
    }
