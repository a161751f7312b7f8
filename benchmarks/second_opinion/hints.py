"""Hints taken at their word: each is written into the fleet file, which must then be read and have a plan.

So must the conflict: what it names is impossible together, and without any one of it there is a plan.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.second_opinion.fleets import Document
from planner.plan import NoPlan
from planner.yaml_source import parse_yaml

LISTS = ("schemes", "tensor_parallel", "pipeline_parallel", "pool")
PINS = ("variant", "eager", "cpu_offload", "lora", "block_size", "max_capture_size")
SPEEDS = ("speed.tpot", "speed.ttft", "rate")
SHORTEST_CONTEXT = 1024
"""What stands for no minimum of the context, unless a request is longer (docs/explain.md)."""


def false_hints(document: Document, answer: NoPlan, solves: Callable[[Document], bool]) -> Iterator[str]:
    """Yield every hint of an answer, of one change or of two, that gives no plan."""
    for changes in [*((change,) for change in answer.changes), *answer.pairs]:
        changed = copy.deepcopy(document)
        for change in changes:
            apply(changed, change.path, change.after)
        if not solves(changed):
            yield f"false hint: {', '.join(f'{one.path} {one.before} -> {one.after}' for one in changes)}"


def not_minimal(document: Document, answer: NoPlan, solves: Callable[[Document], bool]) -> Iterator[str]:
    """Say where a conflict is none, has a requirement that does not belong to it, or is said to decide and does not."""
    if all(role.get("optional") for role in document["roles"].values()):
        document = copy.deepcopy(document)
        for role in document["roles"].values():
            del role["optional"]
    for found in answer.conflicts:
        conflict = [requirement.path for requirement in found.requirements]
        served = {".".join(path.split(".")[:2]) for path in conflict}
        rest = [path for path in _requirements(document) if path not in {*conflict, *served}]
        if _possible(_without(document, rest), solves):
            yield f"no conflict: {conflict}"
        for path in conflict:
            if not _possible(_without(document, [*rest, path]), solves):
                yield f"not minimal: {conflict} without {path}"
        decides = all(solves(left) for path in conflict if (left := _without(document, [path]))["roles"])
        if decides is not found.decisive:
            yield f"{conflict} {'decide' if decides else 'do not decide'} whether there is a plan"


def _possible(document: Document, solves: Callable[[Document], bool]) -> bool:
    """Whether a fleet has a plan, or requires no role any more."""
    return all(role.get("optional") for role in document["roles"].values()) or solves(document)


def apply(document: Document, path: str, value: str) -> None:
    """Write a value at a dotted path of a fleet file, as a person would; without one, remove what is there."""
    *keys, last = path.split(".")
    here: Any = document
    for key in keys:
        if not isinstance(here.get(key), dict):
            here[key] = {"name" if key == "gpu" else "min": here[key]} if key in here else {}
        here = here[key]
    if value == "":
        here.pop(last, None)
    elif last == "time_share":
        here[last] = parse_yaml(value, "hint").data
    elif last == "across_pools":
        here[last] = value == "true"
    elif last in LISTS:
        here[last] = [int(part) if part.isdigit() else part for part in value.split(", ")]
    else:
        here[last] = int(value) if value.isdigit() else float(value) if last in ("recovery", "score") else value


def _requirements(document: Document) -> Iterator[str]:
    """Yield the paths of everything that a fleet file requires, and of the memory that others hold."""
    yield from (path for path, pool in _pools(document) if "memory_in_use" in pool)
    if "sleep" in document.get("between_turns", ""):
        yield "between_turns"
        if document["between_turns"] == "sleep" and "host_memory" in document.get("gpu", {}):
            yield "gpu.host_memory"
    for name, role in document["roles"].items():
        if role.get("optional"):
            continue
        yield f"roles.{name}"
        for path in ("context.min", "concurrency.min", "accuracy.recovery"):
            if path.split(".")[0] in role:
                yield f"roles.{name}.{path}"
        for path in SPEEDS:
            if path.split(".")[-1] in (role.get("speed", {}) if "." in path else role):
                yield f"roles.{name}.{path}"
        for key in (*LISTS, *PINS, "kv_cache_dtype", "replicas", "exclusive", "share_with", "spread"):
            if key in role and role[key] != "auto":
                yield f"roles.{name}.{key}"
        if role.get("kv_cache_dtype") == "auto":
            yield f"roles.{name}.kv_cache_dtype"


def _pools(document: Document) -> Iterator[tuple[str, Document]]:
    """Yield the pools of a fleet file by the path of the memory that others hold there."""
    if "gpu" in document:
        yield "gpu.memory_in_use", document["gpu"]
    for name, pool in document.get("nodes", {}).items():
        yield f"nodes.{name}.memory_in_use", pool


def _without(document: Document, paths: list[str]) -> Document:
    """Return a fleet file that does not require what stands at these paths."""
    left = copy.deepcopy(document)
    for path in sorted(paths, key=lambda path: path.count("."), reverse=True):  # roles after what is in them
        if path.endswith(".memory_in_use"):
            del dict(_pools(left))[path]["memory_in_use"]
            continue
        if path == "between_turns":
            if "time_share" in left:  # a role that is left alone takes no turns
                left[path] = "stop"
            continue
        if path == "gpu.host_memory":
            del left["gpu"]["host_memory"]
            continue
        _, name, *keys = path.split(".")
        role = left["roles"].get(name)
        if role is None:
            continue
        key = ".".join(keys)
        if not key:
            del left["roles"][name]
            _forget(left["roles"], name)
            _forget_turns(left, name)
        elif key == "context.min":
            request = sum(role["request"].values()) if "request" in role else SHORTEST_CONTEXT
            role["context"] = {"wish": role["context"].get("wish", role["context"]["min"]), **role["context"]}
            role["context"]["min"] = min(role["context"]["min"], request)
        elif key == "concurrency.min":
            role["concurrency"] = {"target": role["concurrency"].get("target", 1), "min": 1}
        elif key == "accuracy.recovery":
            role.pop("accuracy", None)
        elif key in SPEEDS[:2]:
            role["speed"].pop(keys[-1])
            if not {"tpot", "ttft"} & role["speed"].keys():
                del role["speed"]
        elif key == "replicas":
            role["replicas"] = 1
        else:
            role.pop(key, None)
    return left


def _forget(roles: Document, name: str) -> None:
    """Take a role out of the lists of those that shared with it; one that shared with nobody else is exclusive."""
    for role in roles.values():
        if name in role.get("share_with", ()):
            others = [other for other in role.pop("share_with") if other != name]
            role.update({"share_with": others} if others else {"exclusive": True})


def _forget_turns(document: Document, name: str) -> None:
    """Take a role out of the groups that take turns; one that is left alone takes none."""
    groups = [[one for one in group if one != name] for group in document.get("time_share", ())]
    if groups := [group for group in groups if len(group) > document.get("max_resident", 1)]:
        document["time_share"] = groups
    else:
        for key in ("time_share", "max_resident", "between_turns"):
            document.pop(key, None)
