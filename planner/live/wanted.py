"""What a plan has scheduled in a cluster: sets of equal pods, by the labels that the rendered manifests give them."""

from collections.abc import Iterator

from msgspec import Struct

from planner.artifacts.engines import engines
from planner.artifacts.groups import group_sets
from planner.artifacts.processes import Server, all_processes
from planner.artifacts.quoting import label, unit_prefix
from planner.artifacts.targets import HELM
from planner.artifacts.workloads import workloads
from planner.engine.options import engine_options
from planner.plan import Plan

IMAGE = "vllm/vllm-openai"


class Wanted(Struct, frozen=True, kw_only=True):
    """Equal pods: ``count`` of them with the label ``instance``, each with ``gpus`` GPUs of a product (as labelled).

    ``servers`` are the first pod's, by what they are called in a pod, as the target spells their names in the plan.
    A ``group`` is the pods of servers that are on several machines each.
    """

    name: str
    instance: str
    count: int
    gpus: int
    product: str
    servers: dict[str, str]
    group: bool = False


def wanted(plan: Plan, target: str) -> tuple[Wanted, ...]:
    """Return all pods that the target has for a plan's servers."""
    processes = all_processes(plan, engine_options(plan.engine_version))
    return tuple(_engines(plan, processes) if target == HELM else _workloads(plan, processes))


def _workloads(plan: Plan, processes: tuple[Server, ...]) -> Iterator[Wanted]:
    by_name = {process.name: process for process in processes if process.rank == 0}
    for workload in workloads(plan.fleet, processes):
        yield Wanted(
            name=workload.name,
            instance=label(workload.name),
            count=workload.replicas,
            gpus=len(workload.claims),
            product=by_name[workload.slots[0].server].product_label,
            servers={label(slot.name): label(slot.server) for slot in workload.slots},
        )
    for group in group_sets(plan.fleet, processes):
        first = by_name[group.server]
        yield Wanted(
            name=group.name,
            instance=label(group.name),
            count=group.node_count * group.replicas,
            gpus=len(first.gpu_indices),
            product=first.product_label,
            servers={label(group.name): label(group.server)},
            group=True,
        )


def _engines(plan: Plan, processes: tuple[Server, ...]) -> Iterator[Wanted]:
    by_name = {process.name: process for process in processes}
    for engine in engines(processes, plan.engine_version):
        first = by_name[engine.servers[0]]
        yield Wanted(
            name=engine.name,
            instance=label(f"{unit_prefix(plan.fleet)}--{engine.name}"),
            count=len(engine.servers),
            gpus=len(first.gpu_indices),
            product=first.product_label,
            servers={"": label(first.name)},
        )
