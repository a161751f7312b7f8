"""Random small fleets, as a fleet file holds them: a few GPUs that the roles barely fit, and every key of placement."""

import random
from collections.abc import Callable
from typing import Any

Document = dict[str, Any]

MODELS = ["Qwen2.5-1.5B-Instruct", "Qwen2.5-3B-Instruct", "Qwen2.5-7B-Instruct", "Mistral-7B-Instruct-v0.3"]
SCHEMES = ["bf16", "awq-int4", "gptq-int8"]
GPUS = {"RTX 4090": 23, "RTX 3090": 23, "L40S": 44, "RTX 4060 Ti 16GB": 15}
"""GPUs by name, with the GiB that others may hold at most."""
OBJECTIVES: list[str | list[str]] = [
    "balanced", "accuracy", "concurrency", "cost", "minimal-change", ["balanced", "cost"], ["cost", "concurrency"],
    ["minimal-change", "balanced"], ["concurrency", "accuracy", "cost"],
]  # fmt: skip


def fleet(seed: int, *, tight: bool = False) -> Document:
    """Return the fleet of a seed; a ``tight`` one has so little memory that it rarely has a plan."""
    dice = random.Random(seed)
    document: Document = {"name": "box", "engine": {"name": "vllm", "version": "0.33.0"}, **_hardware(dice, tight)}
    document["objective"] = dice.choice(OBJECTIVES)
    names = ["a", "b", "c", "d"][: dice.choices([1, 2, 3, 4], [2, 4, 4, 2])[0]]
    document["roles"] = {name: _role(dice, document, tight) for name in names}
    _sharing(dice, document["roles"])
    return document


def across(seed: int) -> Document:
    """Return a fleet of two or three pools of which a role has servers in several."""
    dice = random.Random(seed)
    document: Document = {"name": "box", "engine": {"name": "vllm", "version": "0.33.0"}}
    document["objective"] = dice.choice([one for one in OBJECTIVES if "minimal-change" not in one])
    document["nodes"] = {
        name: _pool(dice, "gpu", tight=False) | ({"gpus": 2} if dice.random() < 0.3 else {})
        for name in ["x", "y", "z"][: dice.choice([2, 2, 3])]
    }
    document["roles"] = {name: _across(dice, document) for name in ["a", "b"][: dice.choice([1, 1, 2])]}
    _sharing(dice, document["roles"])
    return document


def _across(dice: random.Random, document: Document) -> Document:
    """Return a role that is small enough to try everything: servers in several pools have so many ways."""
    least, target = dice.choice([(1, 2), (2, 3), (3, 3), (3, 5), (1, 4), (2, 6)])
    role = _role(dice, document, tight=False)
    role |= {"models": role["models"][:1], "schemes": role["schemes"][:2], "replicas": dice.choice([2, 3, "auto"])}
    role["concurrency"] = {"min": least, "target": target}
    role["context"]["wish"] = min(4096, max(role["context"]["wish"], role["context"]["min"]))
    role["across_pools"] = dice.random() < 0.8
    for key in ("pool", "pipeline_parallel", "tensor_parallel"):
        role.pop(key, None)
    return role | {"pipeline_parallel": 1}


def before(seed: int, document: Document) -> Document:
    """Return a fleet that the one of this seed may once have been: other wishes, targets, pins and objective."""
    dice = random.Random(-seed - 1)
    old: Document = {**document, "objective": dice.choice(["balanced", "accuracy", "concurrency"]), "roles": {}}
    for name, role in document["roles"].items():
        changed = {**role, "concurrency": dict(role["concurrency"]), "context": dict(role["context"])}
        change = dice.choice(["target", "wish", "schemes", "models", "cache", "nothing"])
        if change == "target":
            changed["concurrency"]["target"] = max(role["concurrency"]["min"], dice.randint(1, 8))
        elif change == "wish":
            changed["context"]["wish"] = max(role["context"]["min"], dice.choice([2048, 4096, 6144, 8192]))
        elif change == "schemes":
            changed["schemes"] = [dice.choice(role["schemes"])]
        elif change == "models":
            changed["models"] = [dice.choice(role["models"])]
        elif change == "cache":
            changed["kv_cache_dtype"] = dice.choice(["auto", "fp8"])
        old["roles"][name] = changed
    return old


def _hardware(dice: random.Random, tight: bool) -> Document:
    def pool(gpu_key: str) -> Document:
        return _pool(dice, gpu_key, tight=tight)

    shape = dice.choice(["one", "two", "three", "nodes", "pools", "mixed", "node of two"])
    if shape in ("one", "two", "three"):
        return {"gpu": {**pool("name"), "count": {"one": 1, "two": 2, "three": 3}[shape]}}
    if shape == "nodes":
        return {"nodes": {"x": {**pool("gpu"), "count": dice.choice([2, 3])}}}
    if shape == "pools":
        return {"nodes": {"x": pool("gpu"), "y": pool("gpu")}}
    if shape == "mixed":
        return {"nodes": {"x": {**pool("gpu"), "gpus": 2}, "y": pool("gpu")}}
    first = {**pool("gpu"), "node": "desk"}
    return {"nodes": {"x": first, "y": {**pool("gpu"), "node": "desk", "index": 1}}}


def _pool(dice: random.Random, gpu_key: str, *, tight: bool) -> Document:
    gpu = dice.choice(list(GPUS))
    held = dice.randrange(GPUS[gpu] // 2 if tight else 0, GPUS[gpu] - 2) if tight or dice.random() < 0.5 else 0
    found: Document = {gpu_key: gpu}
    if held:
        found["memory_in_use"] = f"{held}GiB"
    if dice.random() < 0.5:
        found["price_per_hour"] = dice.choice([0.5, 1, 2])
    return found


def _role(dice: random.Random, document: Document, tight: bool) -> Document:
    least, target = dice.choice([(1, 1), (1, 2), (1, 4), (2, 3), (3, 5), (1, 6)])
    shortest = dice.choice([2048, 3072, 4096])
    role: Document = {
        "task": "general",
        "models": sorted(dice.sample(MODELS, dice.choice([1, 1, 2]))),
        "schemes": sorted(dice.sample(SCHEMES, dice.choice([1, 2, 3]))),
        "context": {"min": shortest, "wish": max(shortest, dice.choice([2048, 4096, 6144, 8192]))},
        "concurrency": {"min": least, "target": target},
        "pipeline_parallel": 1,
        "weight": dice.choice([1, 1, 2, 5]),
    }
    if tight and dice.random() < 0.5:
        role["context"] = {"min": dice.choice([8192, 16384, 32768])}
    role["replicas"] = dice.choices([1, 2, 3, "auto"], [5, 2, 1, 4])[0]
    optional: dict[str, Callable[[], Any]] = {
        "kv_cache_dtype": lambda: dice.choice(["auto", "fp8"]),
        "request": lambda: {"prompt_tokens": 1500, "output_tokens": 500},
        "optional": lambda: True,
        "exclusive": lambda: True,
        "tensor_parallel": lambda: dice.choice([1, [1, 2]]),
        "accuracy": lambda: {"recovery": dice.choice([95, 98, 99])},
        "pool": lambda: [dice.choice(list(document["nodes"]))],
        "spread": lambda: dice.choice(["gpu", "node"]),
        "pipeline_parallel": lambda: dice.choice([2, [1, 2]]),
    }
    chances = [0.3, 0.4, 0.15, 0.12, 0.2, 0.15, 0.2 if "nodes" in document else 0, 0.12, 0.15]
    for (key, value), chance in zip(optional.items(), chances, strict=True):
        if dice.random() < chance:
            role[key] = value()
    return role


def _sharing(dice: random.Random, roles: Document) -> None:
    """Let two roles share with nobody else, sometimes."""
    names = [name for name, role in roles.items() if not role.get("exclusive")]
    if len(names) >= 2 and dice.random() < 0.2:
        one, other = names[:2]
        roles[one]["share_with"] = [other]
        if dice.random() < 0.5:
            roles[other]["share_with"] = [one]
