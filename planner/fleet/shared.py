"""Several roles that one server does: each keeps its name and its floors, the limits of the server add up.

To the search they are one role. What it needs is put together here, so that the server that comes out holds what every
one of them asks: the longest context, all requests at once, each counted at the longest length of a request.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import fields, replace

from planner.facts.variant import Model
from planner.fleet.findings import Findings
from planner.fleet.fleet import Role
from planner.fleet.schema import OWN_TASKS, FleetMap
from planner.yaml_source import dotted

_SAME = {
    "variant": "variant",
    "schemes": "schemes",
    "kv_cache_dtype": "kv_cache_dtype",
    "port": "port",
    "replicas": "replicas",
    "tensor_parallel_sizes": "tensor_parallel",
    "pipeline_parallel_sizes": "pipeline_parallel",
    "data_parallel_sizes": "data_parallel",
    "expert_parallel": "expert_parallel",
    "context_parallel_sizes": "context_parallel",
    "pools": "pool",
    "spread": "spread",
    "settings": "settings of the engine",
    "drafter": "speculative",
}
"""Facts of a role that one server has once, and their keys: what one role leaves open another may say."""
_OPEN = {one.name: one.default for one in fields(Role)} | dict.fromkeys(
    ("variant", "schemes", "kv_cache_dtype", "port")
)


def merged(parts: Sequence[Role]) -> Role:
    """Return the role that one server does for all of ``parts``; it has the name of the first.

    Pins that only one of them has are its own. What each requires of its accuracy stays with the part.
    """
    first = parts[0]
    own: dict[str, Any] = {name: _said(parts, name) for name in _SAME}
    longest = max(parts, key=lambda part: (part.request_tokens or part.context_min, part.name))
    return replace(
        first,
        **own,
        models=tuple(_common(parts)),
        context_min=max(part.context_min for part in parts),
        context_wish=max(part.context_wish for part in parts),
        concurrency_min=sum(part.concurrency_min for part in parts),
        concurrency_target=sum(part.concurrency_target for part in parts),
        prompt_tokens=longest.prompt_tokens,
        output_tokens=longest.output_tokens,
        recovery_floor=None,
        score_floor=None,
        weight=sum(part.weight for part in parts),
        trust_remote_code=any(part.trust_remote_code for part in parts),
        share_with=_neighbours(parts),
        optional=all(part.optional for part in parts),
        tpot_us=_least([part.tpot_us for part in parts]),
        ttft_us=_least([part.ttft_us for part in parts]),
        percentile=max(part.percentile for part in parts),
        rate_milli=sum(part.rate_milli or 0 for part in parts) or None,
        users=None,
        think_us=None,
        cached_permille=min(part.cached_permille for part in parts),
        busy_permille=min(1000, sum(part.busy_permille for part in parts)),
        parts=tuple(parts),
    )


def served_together(findings: Findings, read: FleetMap, roles: Sequence[Role]) -> tuple[Role, ...]:
    """Return roles with those merged that ask for the same server; a finding says why some cannot have one."""
    by_name = {role.name: role for role in roles}
    groups: dict[str, list[str]] = {}
    for name, role in read.roles.items():
        host = role.same_server_as
        if host is None:
            continue
        if message := _unhosted(read, name, host):
            hosts = ", ".join(one for one, role in read.roles.items() if one != name and role.same_server_as is None)
            hint = f"name a role with a server of its own{': ' * bool(hosts)}{hosts}"
            findings.refuse(("roles", name, "same_server_as"), message, hint)
        else:
            groups.setdefault(host, []).append(name)
    found = dict(by_name)
    moved = {name: host for host, names in groups.items() for name in names}
    for host, names in groups.items():
        parts = [by_name[name] for name in (host, *sorted(names)) if name in by_name]
        if len(parts) <= len(names):  # what is wrong with one of them is said elsewhere
            continue
        refused = [*_contradictions(parts), *_defaults(read, parts)]
        for name, key, message, hint in refused:
            said = key if key in read.roles[name].model_fields_set else "same_server_as"
            findings.refuse(("roles", name, said), message, hint)
        if not refused:
            found = {name: role for name, role in found.items() if name not in names}
            found[host] = merged(parts)
    return tuple(_pointing(role, moved) for role in found.values())


def may_share(first: Role, other: Role) -> bool:
    """Whether one server can do two roles that have servers of their own."""
    return not (first.parts or other.parts) and next(_contradictions([first, other]), None) is None


def _unhosted(read: FleetMap, name: str, host: str) -> str:
    """Say why a role is none that another can share the server of."""
    if host not in read.roles:
        return f"there is no role {host!r}"
    if host == name:
        return "a role shares its own server already"
    if read.roles[host].same_server_as is not None:
        return f"{host} itself is on the server of {read.roles[host].same_server_as}"
    return ""


def _contradictions(parts: Sequence[Role]) -> Iterator[tuple[str, str, str, str]]:
    """Yield what one server cannot be for several roles: the role, the key, what is wrong, and what to do."""
    first = parts[0]
    for other in parts[1:]:
        name = other.name
        if (other.task in OWN_TASKS or first.task in OWN_TASKS) and other.task != first.task:
            yield name, "task", f"a server for {first.task} is none for {other.task}", "give the role one of its own"
            continue
        for fact, key in _SAME.items():
            said = {getattr(part, fact) for part in (first, other)} - {_OPEN[fact]}
            if len(said) > 1:
                yield _disagreement(first, other, key)
        if (first.wants_speed or other.wants_speed) and _request(first) != _request(other):
            message = f"how fast a server is that {first.name} shares depends on the length of its requests"
            yield name, "request", message, f"give both the same request, or {name} a server of its own"
    if not list(_common(parts)):
        names = " and ".join(part.name for part in parts)
        yield parts[-1].name, "models", f"no checkpoint is a candidate of {names}", "name the same models"


def _defaults(read: FleetMap, parts: Sequence[Role]) -> Iterator[tuple[str, str, str, str]]:
    """Yield as ``_contradictions`` does where one of two roles states what it would be if nothing were stated."""
    first, stated = parts[0], {name: role.model_fields_set for name, role in read.roles.items()}
    for other in parts[1:]:
        for fact, key in _SAME.items():
            found = {getattr(part, fact) for part in (first, other)}
            if len(found) > 1 and _OPEN[fact] in found and key in stated[first.name] & stated[other.name]:
                yield _disagreement(first, other, key)


def _disagreement(first: Role, other: Role, key: str) -> tuple[str, str, str, str]:
    mine, theirs = dotted(("roles", other.name, key)), dotted(("roles", first.name, key))
    return other.name, key, f"one server cannot be what {mine} and {theirs} both say", "make them agree"


def _request(role: Role) -> tuple[int | None, int | None]:
    return role.prompt_tokens, role.output_tokens


def _common(parts: Sequence[Role]) -> Iterator[Model]:
    """Yield the models that are candidates of all, each with the variants that are."""
    for model in parts[0].models:
        variants = model.variants
        for part in parts[1:]:
            there = {one.repository for other in part.models if other.name == model.name for one in other.variants}
            variants = tuple(one for one in variants if one.repository in there)
        if variants:
            yield replace(model, variants=variants)


def _said(parts: Sequence[Role], fact: str) -> Any:  # noqa: ANN401 - any fact of a role
    """Return what one of the roles says, else what all leave open."""
    return next((value for part in parts if (value := getattr(part, fact)) != _OPEN[fact]), _OPEN[fact])


def _neighbours(parts: Sequence[Role]) -> tuple[str, ...] | None:
    """Return whom all of the roles let onto their GPUs."""
    limits = [set(part.share_with) for part in parts if part.share_with is not None]
    return tuple(sorted(set.intersection(*limits))) if limits else None


def _pointing(role: Role, moved: dict[str, str]) -> Role:
    """Return a role that names others by the server they are on."""
    if role.share_with is None:
        return role
    return replace(role, share_with=tuple(sorted({moved.get(name, name) for name in role.share_with} - {role.name})))


def _least(values: Sequence[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)
