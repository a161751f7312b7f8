"""Unsearched: what the budget did not suffice to look at, and which keys of a role leave less to look at."""

from collections.abc import Iterator

from planner.fleet import Role
from planner.options import Prepared
from planner.plan import Unsearched


def unsearched(prepared: Prepared) -> tuple[Unsearched, ...]:
    """Return the roles whose options were not all looked at."""
    cut = [found.role for found in prepared.roles if found.cut]
    return tuple(Unsearched(what="options", role=role.name, keys=tuple(open_keys(role))) for role in cut)


def open_keys(role: Role) -> Iterator[str]:
    """Yield the keys that a role leaves open and that have the most options to choose from; the widest first."""
    if not role.named or len(role.models) > 1:
        yield "models"
    if role.variant is None and role.schemes is None:
        yield "schemes"
    if role.replicas is None:
        yield "replicas"
    if role.tensor_parallel_sizes is None:
        yield "tensor_parallel"
    if role.data_parallel_sizes is None:
        yield "data_parallel"
    if role.pipeline_parallel_sizes is None:
        yield "pipeline_parallel"
