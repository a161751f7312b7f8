"""How the time of a plan grows: with its roles, its GPUs, and the options of its roles."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks.speed_ratio.measure import Build, run
from benchmarks.speed_ratio.works import plan

Point = tuple[str, int, float]
"""What grows, how much there is of it, and the CPU seconds of a plan."""

_MODELS = ("qwen3-8b", "qwen3-14b", "qwen3-32b", "mistral-7b-instruct-v0.3", "llama-3.1-8b-instruct", "gpt-oss-20b")
_ROLE: dict[str, Any] = {"context": {"min": "8k", "wish": "16k"}, "concurrency": {"min": 1, "target": 8}}


def growth(build: Build, folder: Path) -> Iterator[Point]:
    """Yield the CPU seconds of plans of one build, of which each is made for the first time."""
    for count in (1, 2, 4, 8, 16):
        yield "roles", count, _seconds(build, folder, _fleet(roles=count, gpus=8, models=2))
    for count in (1, 8, 64, 512):
        yield "GPUs", count, _seconds(build, folder, _fleet(roles=4, gpus=count, models=2))
    for count in (1, 2, 4, 6):
        yield "models of each role", count, _seconds(build, folder, _fleet(roles=4, gpus=8, models=count))


def _seconds(build: Build, folder: Path, document: dict[str, Any]) -> float:
    path = folder / "growth.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return run(build, plan(path, forgets=True)).cpu


def _fleet(*, roles: int, gpus: int, models: int) -> dict[str, Any]:
    wide = min(gpus, 8)
    return {
        "name": "growth",
        "engine": {"name": "vllm", "version": "0.33.0"},
        "nodes": {"node": {"gpu": "h100-sxm-80gb", "gpus": wide, "count": gpus // wide}},
        "roles": {f"role-{number:02}": _role(number, models) for number in range(roles)},
    }


def _role(number: int, models: int) -> dict[str, Any]:
    """Return a role whose models begin with another one than those of its neighbours."""
    named = [_MODELS[(number + place) % len(_MODELS)] for place in range(models)]
    role = {name: dict(value) for name, value in _ROLE.items()}
    return {"task": "general", "models": named, **role, "weight": 1 + number % 3}
