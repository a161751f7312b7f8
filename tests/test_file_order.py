"""Order: neither that of roles, pools and models in the file, nor running again, changes a byte of the plan.

Only the digest of the file, in the lock, takes notice of the order of a list.
"""

import random
from pathlib import Path
from typing import Any

import parsed
import pytest
from fleets import catalog, fleet
from msgspec.structs import replace

from planner.engine.profile import load_profile
from planner.options import prepare
from planner.options.problem import problem
from planner.plan import Plan, plan_to_yaml
from planner.search.optimise import places
from planner.solve import solve

EXAMPLES = Path(__file__).parent.parent / "examples"
MODELS = {
    "code": ["qwen2.5-coder-7b-instruct", "qwen2.5-coder-32b-instruct"],
    "general": ["qwen3-8b", "qwen2.5-14b-instruct", "llama-3.3-70b-instruct"],
    "embedding": ["bge-m3"],
}


def many_roles(count: int, nodes: dict[str, Any]) -> dict[str, Any]:
    """A fleet with so many roles, alike but for their weights, tasks and requests at once."""
    roles = {
        f"{task}-{number}": {
            "task": task, "models": list(MODELS[task]), "context": "8k", "weight": 1 + number % 3,
            "concurrency": {"min": 2 + number % 5, "target": 16 + 8 * (number % 4)},
        }
        for number in range(count // 3)
        for task in MODELS
    }  # fmt: skip
    return {"name": "many", "engine": {"name": "vllm", "version": "0.33.0"}, "nodes": nodes, "roles": roles}


PACKED_FROM = 250
"""Places from which a fleet is packed here; the planner does so from twelve times as many on."""
LARGE = many_roles(
    9, {"rack": {"gpu": "h100-sxm-80gb", "gpus": 8, "count": 3}, "old": {"gpu": "l40s", "gpus": 4, "count": 2}}
)
MEDIUM = many_roles(
    6, {"one": {"gpu": "rtx-4090", "gpus": 4}, "two": {"gpu": "l40s", "gpus": 2}, "three": {"gpu": "rtx-3090"}}
)
WITHOUT_MODELS: dict[str, Any] = {
    "name": "open", "engine": {"name": "vllm", "version": "0.33.0"}, "gpu": {"name": "rtx-3090", "count": 2},
    "roles": {
        "chat": {"task": "general", "context": "8k", "concurrency": 4},
        "embedder": {"task": "embedding", "context": "2k", "concurrency": 8},
    },
}  # fmt: skip


def shuffled(value: Any, rng: random.Random) -> Any:  # noqa: ANN401 - any YAML value
    """Return the same document with the keys of every map, and the models of every role, in another order."""
    if not isinstance(value, dict):
        return value
    keys = list(value)
    rng.shuffle(keys)
    found = {key: shuffled(value[key], rng) for key in keys}
    if "models" in found:
        found["models"] = rng.sample(found["models"], len(found["models"]))
    return found


def solved(document: dict[str, Any]) -> Plan:
    answer = solve(fleet(document), catalog(), budget=5)

    assert isinstance(answer, Plan)
    return answer


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(MEDIUM, id="medium"),
        pytest.param(LARGE, id="large"),
        pytest.param(WITHOUT_MODELS, id="without-models"),
        *(
            pytest.param(parsed.one((EXAMPLES / name / "fleet.yaml").read_text()), id=name)
            for name in ("lab-of-mixed-nodes", "two-48gb-cards")
        ),
    ],
)
def test_another_order_in_the_file_gives_the_same_plan(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planner.search.optimise._SOME", PACKED_FROM)
    first = solved(document)
    other = solved(shuffled(document, random.Random(1)))

    assert plan_to_yaml(first) == plan_to_yaml(replace(other, lock=first.lock))


def test_the_large_fleet_is_packed_and_not_decided_together() -> None:
    found = fleet(LARGE)

    assert places(problem(found, prepare(found, catalog(), load_profile("0.33.0")))) > PACKED_FROM
