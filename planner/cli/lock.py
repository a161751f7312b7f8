"""plan.yaml as the lock of its fleet: the plan that is there, whether it is up to date, and what to render from it."""

from collections.abc import Collection, Iterator
from pathlib import Path

from msgspec.structs import replace

from planner.artifacts import EXTRA_TARGETS, edited
from planner.catalog import Catalog
from planner.check import check
from planner.cli.shared import hint
from planner.engine.profile import load_profile
from planner.errors import InputError, NewerPlan
from planner.explain.words import listed
from planner.fleet import Fleet
from planner.plan import Plan, ServerPlan, lock_of, plan_from_yaml, stale

PLAN_FILE = "plan.yaml"


def plan_there(folder: Path | None) -> Plan | None:
    """Return the plan of a folder, None when it has none, or none that the planner wrote and can read.

    Where there is no folder there is no plan.

    Raises:
        NewerPlan: a newer planner wrote it.
    """
    path = folder / PLAN_FILE if folder else None
    if folder is None or path is None or not path.exists():
        return None
    if edited(folder, PLAN_FILE):
        hint(f"{path} was edited by hand, so it is not followed")
        return None
    try:
        return plan_from_yaml(path)
    except NewerPlan:
        raise
    except InputError:
        hint(f"{path} is no plan that this version reads, so it is not followed")
        return None


def up_to_date(plan: Plan, fleet: Fleet, catalog: Catalog, budget: int) -> bool:
    """Whether solving again would give the same: nothing that the plan was made from has changed, and it holds."""
    from planner.search.solver import SOLVER_VERSION  # most commands that read a plan do not ask this

    return (
        not changed(plan, fleet, catalog)
        and (plan.proof.solver_version, plan.proof.budget) == (SOLVER_VERSION, budget)
        and not plan.proof.interrupted
        and plan.point is None
        and not check(plan, fleet, catalog)
    )


def changed(plan: Plan, fleet: Fleet, catalog: Catalog) -> tuple[str, ...]:
    """Return what changed since a plan was made, by name."""
    return stale(plan.lock, lock_of(fleet, catalog, load_profile(fleet.engine_version or plan.engine_version)))


def say_stale(plan: Plan, fleet: Fleet, catalog: Catalog, folder: Path) -> bool:
    """Say, and return, whether anything that a plan was made from has changed."""
    found = changed(plan, fleet, catalog)
    if found:
        has = "has" if len(found) == 1 else "have"
        hint(f"the {listed(found)} {has} changed since {folder / PLAN_FILE} was made; `planner solve` plans again")
    return bool(found)


def say_gone(plan: Plan, fleet: Fleet, folder: Path) -> None:
    """Say which servers of an earlier plan cannot stay, because their GPUs or models are no longer in the fleet."""
    for server, reason in _gone(plan, fleet):
        hint(f"{folder / PLAN_FILE} has {server.name} on {reason}, which the fleet has no longer")


def say_followed(before: Plan, plan: Plan, folder: Path) -> None:
    """Say how many servers of an earlier plan stay as they are, unless it is all of them."""
    now = {server.name: server for server in plan.servers}
    same = sum(now.get(server.name) == server for server in before.servers)
    if same < len(before.servers):
        hint(f"{same} of {len(before.servers)} servers stay as {folder / PLAN_FILE} had them")


def with_targets(plan: Plan, targets: Collection[str]) -> Plan:
    """Return a plan whose lock names these targets, in their usual order."""
    lock = replace(plan.lock, targets=tuple(name for name in EXTRA_TARGETS if name in targets))
    return replace(plan, lock=lock)


def _gone(plan: Plan, fleet: Fleet) -> Iterator[tuple[ServerPlan, str]]:
    places = {
        (node, index)
        for pool in fleet.pools
        for node in pool.node_names
        for index in range(pool.gpu_index, pool.gpu_index + pool.gpus_per_node)
    }
    variants = {
        role.name: {variant.path or variant.repository for model in role.models for variant in model.variants}
        for role in fleet.roles
    }
    for server in plan.servers:
        if server.role not in variants:
            continue
        missing = [f"GPU {index} of {node}" for node, index in server.gpus if (node, index) not in places]
        if missing:
            yield server, listed(missing)
        if server.repository not in variants[server.role]:
            yield server, server.repository
