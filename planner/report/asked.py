"""What a person asks for in the page of ``planner report --serve``: other GPUs, contexts, requests, KV caches."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from planner.catalog import Catalog
from planner.errors import InputError, Problem
from planner.fleet import GPU_OPTION, SET_OPTION, Edit, Fleet
from planner.tensors.kv_pages import CACHE_DTYPES

_MOST_GPUS = 64
_LEAST_TOP_TOKENS, _LEAST_TOP_REQUESTS = 128 << 10, 64
_WHERE = "request"


class RoleControl(Struct, frozen=True, kw_only=True):
    """What may be changed of a role, as the fleet has it, and how far; ``context`` is in tokens."""

    role: str
    context: int
    context_most: int
    requests: int
    requests_most: int


class Controls(Struct, frozen=True, kw_only=True):
    """What may be changed of a fleet; ``caches`` are the types of a KV cache."""

    gpus: tuple[str, ...]
    count: int
    count_most: int
    roles: tuple[RoleControl, ...]
    caches: tuple[str, ...]


def controls(fleet: Fleet, catalog: Catalog) -> Controls:
    """Return what may be changed of a fleet."""
    return Controls(
        gpus=tuple(sorted({gpu.name for gpu in catalog.gpus}, key=str.lower)),
        count=min(_MOST_GPUS, sum(pool.gpu_count for pool in fleet.pools)),
        count_most=_MOST_GPUS,
        roles=tuple(
            RoleControl(
                role=role.name,
                context=role.context_min,
                context_most=max(_LEAST_TOP_TOKENS, 2 * role.context_wish),
                requests=role.concurrency_min,
                requests_most=max(_LEAST_TOP_REQUESTS, 2 * role.concurrency_target),
            )
            for role in fleet.roles
        ),
        caches=tuple(CACHE_DTYPES),
    )


def edits(asked: object, allowed: Controls) -> tuple[Edit, ...]:
    """Return the edits of a fleet that an answer of the page's form is.

    Raises:
        InputError: it is no such answer.
    """
    if not isinstance(asked, dict) or set(asked) - {"gpu", "count", "roles"}:
        raise _refused("expected gpu, count and roles")
    roles = asked.get("roles", {})
    if not isinstance(roles, dict):
        raise _refused("roles are not a map")
    return (*_gpus(asked, allowed), *(edit for name, own in roles.items() for edit in _role(name, own, allowed)))


def _gpus(asked: dict[str, Any], allowed: Controls) -> Iterator[Edit]:
    if "gpu" in asked:
        if asked["gpu"] not in allowed.gpus:
            raise _refused("unknown GPU")
        yield Edit(GPU_OPTION, f"{asked['gpu']}:{_whole(asked.get('count'), allowed.count_most)}")


def _role(name: str, own: object, allowed: Controls) -> Iterator[Edit]:
    control = next((one for one in allowed.roles if one.role == name), None)
    if control is None or not isinstance(own, dict) or set(own) - {"context", "requests", "cache"}:
        raise _refused("unknown role, or something unknown of it")
    if "context" in own:
        yield Edit(SET_OPTION, f"roles.{name}.context={_whole(own['context'], control.context_most)}")
    if "requests" in own:
        yield Edit(SET_OPTION, f"roles.{name}.concurrency={_whole(own['requests'], control.requests_most)}")
    if "cache" in own:
        if own["cache"] not in ("", *allowed.caches):
            raise _refused("unknown type of a KV cache")
        yield Edit(SET_OPTION, f"roles.{name}.kv_cache_dtype={own['cache']}")


def _whole(value: object, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise _refused(f"expected a whole number from 1 to {most}")
    return value


def _refused(message: str) -> InputError:
    return InputError((Problem(_WHERE, 0, 0, "", message, ""),))
