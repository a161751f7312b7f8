"""Moves: how machines get from one plan to another, server by server, in an order that keeps roles served."""

from collections.abc import Iterator
from typing import Literal, TypeAlias

from msgspec import Struct

from planner.plan.plan import Plan
from planner.plan.server import GPUGroup, ServerPlan

Action: TypeAlias = Literal["start", "stop"]
Kind: TypeAlias = Literal["moved", "started", "stopped", "reconfigured"]

_NOT_RUN = frozenset({"speed", "accuracy", "known_faults", "concurrency_request", "concurrency_full_context"})
"""Fields of a server that are said of it, not told to the engine."""


class Step(Struct, frozen=True, kw_only=True):
    """One server is started, and waited for, or stopped: a ``server`` of the new plan or of the old one.

    ``role`` is whose server it is, ``groups`` the GPUs it gets or leaves. A start may take up to ``seconds``, which is
    the limit of the rendered files for a start that compiles; a stop counts none.
    """

    action: Action
    server: str
    role: str
    groups: tuple[GPUGroup, ...]
    seconds: int = 0


class Gap(Struct, frozen=True, kw_only=True):
    """A role that has less than its minimum for a while, because no order of the steps avoids it.

    From step ``first`` to step ``last``, counted from 1, it has at least ``servers`` of the ``of_servers`` that it must
    have and takes ``requests`` of ``of_requests`` at once, for up to ``seconds``.
    """

    role: str
    first: int
    last: int
    servers: int
    of_servers: int
    requests: int
    of_requests: int
    seconds: int


class Move(Struct, frozen=True, kw_only=True):
    """What becomes of one server that does not stay as it is, by its names in the two plans.

    ``lost`` says that its old GPUs are no longer in the fleet, so that there is nothing to be stopped. ``loads`` is the
    checkpoint of the server from now on, and ``had`` the one before, where that changes; otherwise both are empty.
    """

    kind: Kind
    role: str
    before: str
    after: str
    source: tuple[GPUGroup, ...]
    target: tuple[GPUGroup, ...]
    lost: bool = False
    had: str = ""
    loads: str = ""


class Moves(Struct, frozen=True, kw_only=True):
    """The servers that change between two plans, the steps in a safe order, and the gaps that none avoids.

    ``stay`` servers are left alone, of the ``were`` that the old plan has on GPUs that are still there.
    """

    stay: int
    were: int
    moves: tuple[Move, ...]
    steps: tuple[Step, ...]
    gaps: tuple[Gap, ...]


def same(one: ServerPlan, other: ServerPlan) -> bool:
    """Whether two plans have a server run alike and on the same GPUs, so that it need not be started again."""
    fields = [name for name in ServerPlan.__struct_fields__ if name not in _NOT_RUN]
    return all(getattr(one, name) == getattr(other, name) for name in fields)


def staying(old: Plan, new: Plan) -> frozenset[str]:
    """Return the names of the servers that both plans have alike; another version of the engine leaves none."""
    if (old.engine, old.engine_version) != (new.engine, new.engine_version):
        return frozenset()
    before = {server.name: server for server in old.servers}
    return frozenset(s.name for s in new.servers if s.name in before and same(before[s.name], s))


def changes(old: Plan, new: Plan, gone: frozenset[str]) -> Iterator[Move]:
    """Yield what becomes of every server that does not stay; ``gone`` are those of the old plan whose GPUs are lost.

    A server that keeps its name is moved, or with the same GPUs reconfigured; of the others of a role, those that stop
    are paired with those that start as far as there are both.
    """
    stay = staying(old, new)
    before = {server.name: server for server in old.servers if server.name not in stay}
    after = {server.name: server for server in new.servers if server.name not in stay}
    pairs = [(before.pop(name), after.pop(name)) for name in sorted(before.keys() & after.keys())]
    for name in sorted(after):
        like = [one for one in before.values() if one.role == after[name].role]
        if like:
            pairs.append((before.pop(min(like, key=_number).name), after.pop(name)))
    for one, other in sorted(pairs, key=lambda pair: _number(pair[1])):
        kind: Kind = "reconfigured" if one.groups == other.groups else "moved"
        yield _move(kind, one, other, gone)
    yield from (_move("started", None, after[name], gone) for name in sorted(after))
    yield from (_move("stopped", before[name], None, gone) for name in sorted(before))


def _number(server: ServerPlan) -> tuple[str, int, str]:
    return server.role, len(server.name), server.name


def _move(kind: Kind, one: ServerPlan | None, other: ServerPlan | None, gone: frozenset[str]) -> Move:
    found = other or one
    assert found
    another = one is not None and other is not None and one.repository != other.repository
    return Move(
        kind=kind,
        role=found.role,
        before=one.name if one else "",
        after=other.name if other else "",
        source=one.groups if one else (),
        target=other.groups if other else (),
        lost=one is not None and one.name in gone,
        had=one.repository if one and another else "",
        loads=other.repository if other and another else "",
    )
