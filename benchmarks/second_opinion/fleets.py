"""Random small fleets, as a fleet file holds them: a few GPUs that the roles barely fit, and every key of placement."""

import random
from collections.abc import Callable
from typing import Any

Document = dict[str, Any]

MODELS = ["Qwen2.5-1.5B-Instruct", "Qwen2.5-3B-Instruct", "Qwen2.5-7B-Instruct", "Mistral-7B-Instruct-v0.3"]
SCHEMES = ["bf16", "awq-int4", "gptq-int8"]
CHAT = ["Llama-3.2-3B-Instruct", "Qwen2.5-7B-Instruct", "Phi-4-mini-instruct", "gemma-2-9b-it"]
GENERAL = ["Llama-3.1-8B-Instruct", "Llama-3.2-3B-Instruct", "Qwen2.5-1.5B-Instruct", "Mistral-7B-Instruct-v0.3"]
"""Models of which some score alike on the scale of their task."""
GPUS = {"RTX 4090": 23, "RTX 3090": 23, "L40S": 44, "RTX 4060 Ti 16GB": 15}
"""GPUs by name, with the GiB that others may hold at most."""
OBJECTIVES: list[str | list[str]] = [
    "balanced", "accuracy", "concurrency", "cost", "minimal-change", ["balanced", "cost"], ["cost", "concurrency"],
    ["minimal-change", "balanced"], ["concurrency", "accuracy", "cost"],
]  # fmt: skip

SPEEDY: list[str | list[str]] = [
    "throughput", "latency", "cost_per_mtok", ["accuracy", "throughput"], ["cost", "latency"],
    ["concurrency", "cost_per_mtok"], ["latency", "cost"], ["balanced", "latency"], ["throughput", "accuracy"],
]  # fmt: skip

PINS: list[Document] = [
    {"eager": True}, {"lora": {"adapters": 2, "rank": 32}}, {"cpu_offload": "2GiB"}, {"block_size": 32},
    {"max_capture_size": 16}, {"lora": {"adapters": 8, "rank": 64}},
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


def near(seed: int) -> Document:
    """Return the fleet of a seed, with models of which some score much the same."""
    dice = random.Random(-seed - 100_000)
    document = fleet(seed)
    for role in document["roles"].values():
        if dice.random() < 0.7:
            role["task"], names = dice.choice([("chat", CHAT), ("general", GENERAL)])
            role["models"] = sorted(dice.sample(names, dice.choice([1, 2, 3])))
            role["schemes"] = sorted([*dice.sample([*SCHEMES, "w4a16", "w8a8-int8"], dice.choice([1, 2, 3])), "fp8"])
        if dice.random() < 0.3:
            role["optional"] = True
        if len(role["models"]) > 1 and dice.random() < 0.25:
            figures = {name: {"score": dice.choice([60, 60.5, 62]), "source": "us"} for name in role["models"]}
            role["accuracy"] = {**role.get("accuracy", {}), "figures": figures}
    return document


def paced(seed: int) -> Document:
    """Return the fleet of a seed with an objective of speed, or roles that have to be fast."""
    dice = random.Random(-seed - 200_000)
    document = near(seed)
    counts = dice.random() < 0.7
    document["objective"] = dice.choice(SPEEDY) if counts else dice.choice(OBJECTIVES[:4])
    for role in document["roles"].values():
        prompt = dice.choice([200, 800, 1500])
        role["request"] = {"prompt_tokens": prompt, "output_tokens": dice.choice([100, 400])}
        if dice.random() < 0.3:
            role["busy"] = dice.choice([0.2, 0.5])
        if dice.random() < 0.2:
            role["cached_prompt"] = 0.5
        if dice.random() < (0.2 if counts else 0.6):
            asked: list[Document] = [
                {"speed": {"tpot": f"{dice.choice([15, 25, 40, 60])}ms"}},
                {"speed": {"ttft": f"{dice.choice([300, 800, 2000])}ms", "percentile": dice.choice([50, 90])}},
                {"rate": f"{dice.choice([10, 40, 90, 200])}/min"},
            ]
            role.update(dice.choice(asked))
    return document


def turning(seed: int) -> Document:
    """Return the fleet of a seed on one machine with two or more roles, some of which take turns."""
    dice = random.Random(-seed - 300_000)
    while True:
        document = near(dice.randrange(10**9))
        if "gpu" in document and len(document["roles"]) > 1:
            break
    names = list(document["roles"])
    members = sorted(dice.sample(names, dice.randint(2, len(names))))
    document["time_share"] = [members]
    document["between_turns"] = "stop"
    if len(members) > 2 and dice.random() < 0.5:
        document["max_resident"] = 2
    for name in members:
        document["roles"][name].pop("exclusive", None)
        document["roles"][name].pop("share_with", None)
    if "minimal-change" in document["objective"]:
        document["objective"] = "balanced"
    return document


def tight(seed: int) -> Document:
    """Return a fleet of a seed with too little memory, or demands that are too high, of any kind."""
    dice = random.Random(-seed - 400_000)
    kind = dice.choice(["plain", "speed", "turns", "across", "pins", "pins"])
    document = {"plain": fleet, "speed": paced, "turns": turning, "across": across, "pins": near}[kind](seed)
    for pool in [document["gpu"]] if "gpu" in document else document["nodes"].values():
        gpu = GPUS[pool.get("name") or pool["gpu"]]
        pool["memory_in_use"] = f"{dice.randrange(gpu * 2 // 3, gpu - 1)}GiB"
    for role in document["roles"].values():
        if dice.random() < 0.5:
            role["context"] = {"min": dice.choice([8192, 16384, 32768])}
        if kind == "pins":
            role.update(dice.choice(PINS))
        if kind == "speed" and dice.random() < 0.5:
            role.update(dice.choice([{"speed": {"tpot": "9ms"}}, {"rate": "300/min"}, {"speed": {"ttft": "90ms"}}]))
    if kind == "turns" and dice.random() < 0.6:
        document["between_turns"] = dice.choice(["sleep", "sleep-2"])
        if dice.random() < 0.5:
            document["gpu"]["host_memory"] = f"{dice.choice([1, 4, 16])}GiB"
    return document


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
