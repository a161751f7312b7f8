"""Scheduled: a plan held against the pods and nodes that kubectl wrote."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from planner.artifacts.quoting import label, unit_prefix
from planner.artifacts.read_back import WORKER, Command, chart_command, container_commands, group_command
from planner.artifacts.replicas import OWN_OPTIONS
from planner.artifacts.targets import HELM, KUBERNETES
from planner.artifacts.verify import unlike
from planner.errors import Problem
from planner.inventory.documents import Malformed, raise_all
from planner.inventory.node import Node, read_node
from planner.inventory.objects import read_objects
from planner.inventory.pods import OWN_FILES, PART_OF
from planner.live.drift import DIFFERS, OK, SAID, Finding
from planner.live.pod import Pod, read_pod
from planner.live.wanted import IMAGE, Wanted, wanted
from planner.logs.lines import plain
from planner.plan import Plan

_Check = Callable[[Pod], Sequence[str]]
"""What is wrong with a pod; empty when it is as planned."""


def scheduled(plan: Plan, paths: Sequence[Path]) -> tuple[Finding, ...]:
    """Return what is in the files for every set of equal pods of a plan, and whether that is as planned.

    Raises:
        InputError: a file is not what kubectl writes.
    """
    objects = read_objects(paths)
    wrong: list[Problem] = []
    nodes: dict[str, Node] = {}
    pods: list[Pod] = []
    fleet = label(unit_prefix(plan.fleet))
    for item in objects.nodes:
        try:
            node = read_node(item)
            nodes[node.name] = node
        except Malformed as error:
            wrong.append(item.problem(error))
    for item in objects.pods:
        try:
            pod = read_pod(item, fleet)
        except Malformed as error:
            wrong.append(item.problem(error))
        else:
            pods += [pod] if pod else []
    raise_all(wrong)
    return tuple(_held(plan, nodes, pods, fleet))


def _held(plan: Plan, nodes: Mapping[str, Node], pods: Sequence[Pod], fleet: str) -> Iterator[Finding]:
    """Yield what is found for each set of pods, then the pods that no set has."""
    there = [pod for pod in pods if not pod.over]
    target = HELM if there and all(pod.helm for pod in there) else KUBERNETES
    by_instance: dict[str, list[Pod]] = defaultdict(list)
    for pod in there:
        by_instance[pod.instance if pod.helm == (target == HELM) else ""].append(pod)
    for one in wanted(plan, target):
        mine = by_instance.pop(one.instance, [])
        yield Finding(one.name, "pods", f"{one.count}", f"{len(mine)}", OK if len(mine) == one.count else DIFFERS)
        yield from _checked(plan, target, one, mine, nodes)
    for pod in (pod for others in by_instance.values() for pod in others):
        yield Finding(pod.instance or PART_OF, "pods", "none", f"{pod.name} of {fleet}", DIFFERS)
    for pod in pods:
        if pod.over:
            yield Finding(pod.instance or PART_OF, "pods", "", f"{pod.name} {pod.over}", SAID)


def _checked(plan: Plan, target: str, one: Wanted, pods: Sequence[Pod], nodes: Mapping[str, Node]) -> Iterator[Finding]:
    image = f"{IMAGE}:v{plan.engine_version}"
    checks: list[tuple[str, str, _Check]] = [
        ("ready", "yes", lambda pod: [pod.state] if pod.state else []),
        ("node", "a ready one", lambda pod: _node(pod, nodes)),
        ("GPU", one.product, lambda pod: _product(pod, nodes, one.product)),
        ("image", image, lambda pod: _images(pod, plan.engine_version)),
        ("command", "the plan's", lambda pod: _commands(plan, target, one, pod)),
    ]
    if not plan.cluster.dra:
        checks.append(("GPUs of a pod", f"{one.gpus}", lambda pod: _count(pod, one.gpus)))
    for what, planned, check in checks:
        found = [(pod, text) for pod in pods for text in check(pod)]
        for pod, text in found:
            yield Finding(one.name, what, planned, f"{pod.name}: {plain(text)}", DIFFERS)
        if pods and not found:
            yield Finding(one.name, what, planned, "as planned", OK)


def _node(pod: Pod, nodes: Mapping[str, Node]) -> list[str]:
    """Return what is wrong with the node of a pod; a pod without one says so as its state."""
    if not pod.node:
        return []
    if pod.node not in nodes:
        return [f"{pod.node} is gone"]
    closed = [one for one in nodes[pod.node].closed.split("; ") if not one.startswith("tainted ")]
    return [f"{pod.node} is {reason}".replace("is is ", "is ") for reason in closed if reason]


def _product(pod: Pod, nodes: Mapping[str, Node], product: str) -> list[str]:
    """Return the product of a pod's node where it is another; with DRA nodes need no label of it."""
    if pod.node not in nodes:
        return []
    labels = [f"{resource}.product" for resource in pod.asks] or ["nvidia.com/gpu.product"]
    there = [nodes[pod.node].label(key) for key in labels]
    missing = [f"no label {key} on {pod.node}" for key, value in zip(labels, there, strict=True) if not value]
    return [f"{value} on {pod.node}" for value in there if value not in ("", product)] + missing * bool(pod.asks)


def _count(pod: Pod, gpus: int) -> list[str]:
    asked = sum(pod.asks.values())
    return [f"{asked}"] if asked != gpus else []


def _engines(pod: Pod) -> Iterator[Mapping[str, object]]:
    """Yield the containers of a pod that start engines; a service mesh, say, may have put others beside them."""
    for container in pod.containers:
        command = container.get("command")
        words = [str(word) for word in command] if isinstance(command, list) else []
        if any(OWN_FILES in word for word in words) or (pod.helm and "vllm" in words):
            yield container


def _images(pod: Pod, version: str) -> list[str]:
    """Return the images that are not the planned one, wherever it was pulled from."""
    found = [str(container.get("image")) for container in _engines(pod)]
    name = IMAGE.rpartition("/")[2]
    return [image for image in found if image.partition("@")[0].rpartition("/")[2] != f"{name}:v{version}"]


def _commands(plan: Plan, target: str, one: Wanted, pod: Pod) -> list[str]:
    """Return how the commands of a pod differ from the plan's, and servers that it lacks or has too many."""
    try:
        commands = list(_read(one, pod))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"cannot be read back: {error}"]
    planned = {name + (WORKER if pod.worker else "") for name in one.servers.values()}
    found = [f"{command.server} is not planned" for command in commands if command.server not in planned]
    found += [f"{name} is missing" for name in sorted(planned - {command.server for command in commands})]
    for command in commands:
        if command.server in planned:
            found += unlike(plan, target, command, more=target == HELM)
    return found


def _read(one: Wanted, pod: Pod) -> Iterator[Command]:
    """Yield the commands of a pod, by the names that their servers have in the plan."""
    for container in _engines(pod):
        if pod.helm:
            command = chart_command(container, one.servers[""])
            kept = tuple(argument for argument in command.arguments if argument.flag not in OWN_OPTIONS)
            yield replace(command, arguments=kept)
        elif one.group:
            suffix = WORKER if pod.worker else ""
            command = group_command(container, suffix)
            name = command.server.removesuffix(suffix)
            yield replace(command, server=one.servers.get(name, name) + suffix)
        else:
            for command in container_commands(container):
                yield replace(command, server=one.servers.get(label(command.server), command.server))
