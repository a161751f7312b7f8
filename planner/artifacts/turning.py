"""Servers that take turns, as templates see them: who goes when who comes, and the sets that llama-swap allows."""

from collections.abc import Sequence

from msgspec import Struct

from planner.artifacts.quoting import slug
from planner.errors import InputError, Problem
from planner.fleet import STOP
from planner.plan import Plan, ServerPlan
from planner.units import ceil_div

# llama-swap answers 429 beyond ten requests at once unless it is told otherwise; as many may wait as at the router.
_WAITING, _LEAST_WAITING = 4, 10
_MACRO = "${"


class TurningRole(Struct, frozen=True, kw_only=True):
    """One role of a group and its servers."""

    name: str
    servers: tuple[str, ...]


class Turns(Struct, frozen=True, kw_only=True):
    """A group of roles of which ``awake`` are awake at once."""

    awake: int
    roles: tuple[TurningRole, ...]


class SwapModel(Struct, frozen=True, kw_only=True):
    """One server as llama-swap knows it: a short variable for it, how much its going costs, its requests at once.

    ``aliases`` are other names that it answers to. What a client asks for is passed on as it is, unless ``sent`` says
    what to ask the engine for in its place; then it has no adapters here, for a name of theirs would be lost.
    """

    name: str
    role: str
    variable: str
    evict_cost: int
    concurrency: int
    aliases: tuple[str, ...] = ()
    sent: str = ""


class LlamaSwap(Struct, frozen=True, kw_only=True):
    """What llama-swap's configuration says beside the command lines.

    ``sets`` are expressions over the variables; ``selectors`` the names that several servers answer to, with these.
    """

    models: tuple[SwapModel, ...]
    sets: tuple[str, ...]
    selectors: tuple[TurningRole, ...]


def turns(plan: Plan) -> tuple[Turns, ...]:
    """Return the groups of a plan's roles that take turns, as far as they are served: none of which nobody is."""
    found = []
    for group in plan.time_share:
        every = [TurningRole(name=role, servers=_servers(plan, role)) for role in group.roles]
        roles = tuple(role for role in every if role.servers)
        if roles:
            found.append(Turns(awake=group.awake, roles=roles))
    return tuple(found)


def excluded(plan: Plan, server: ServerPlan) -> tuple[str, ...]:
    """Return the servers that are stopped while one has its turn."""
    if server.asleep is None or server.asleep.how != STOP:
        return ()
    others = [
        role for group in plan.time_share if group.awake == 1 and server.role in group.roles for role in group.roles
    ]
    return tuple(name for role in others if role != server.role for name in _servers(plan, role))


def llama_swap(plan: Plan) -> LlamaSwap | None:
    """Return what llama-swap must know of a plan in which roles take turns; None for any other.

    Raises:
        InputError: a command line holds what llama-swap would take for a macro.
    """
    if not plan.time_share:
        return None
    mistakes = [name for server in plan.servers for name in (server.repository, *server.names) if _MACRO in name]
    if mistakes:
        hint = "rename it: llama-swap reads ${…} as a macro wherever it stands"
        message = f"{mistakes[0]} cannot stand in its configuration"
        raise InputError((Problem("llama-swap/config.yaml", 0, 0, "", message, hint),))
    models = tuple(_model(plan, server, f"s{number}") for number, server in enumerate(plan.servers, 1))
    variables = {model.name: model.variable for model in models}
    names = {name: server.role for server in plan.servers for name in server.names}
    several = [TurningRole(name=name, servers=_servers(plan, role)) for name, role in names.items()]
    return LlamaSwap(
        models=models,
        sets=tuple(" & ".join(_variables(plan, roles, variables)) for roles in plan.awake_sets),
        selectors=tuple(name for name in several if len(name.servers) > 1),
    )


def _model(plan: Plan, server: ServerPlan, variable: str) -> SwapModel:
    name = slug(server.name)
    alone = len(_servers(plan, server.role)) == 1
    others = tuple(other for other in (*server.names, *server.settings.adapter_names) if other != name) if alone else ()
    known = bool(others) and name in server.names
    return SwapModel(
        name=name,
        role=server.role,
        variable=variable,
        evict_cost=max(1, ceil_div(server.asleep.enter.high_ms if server.asleep else 0, 1000)),
        concurrency=max(_LEAST_WAITING, _WAITING * server.requests),
        aliases=others if known else tuple(other for other in others if other in server.names),
        sent="" if known else server.role,
    )


def _variables(plan: Plan, roles: Sequence[str], variables: dict[str, str]) -> list[str]:
    return [variables[name] for role in roles for name in _servers(plan, role)]


def _servers(plan: Plan, role: str) -> tuple[str, ...]:
    return tuple(slug(server.name) for server in plan.servers if server.role == role)
