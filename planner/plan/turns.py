"""Turns: what the servers of a plan keep between their turns, and which roles may be awake together."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, permutations, product

from msgspec import Struct

from planner.engine.profile import EngineProfile
from planner.engine.starts import start_times
from planner.engine.switching import Span, switch_times
from planner.facts.gpu import GPU
from planner.fleet import STOP, Fleet, Role, TimeShare
from planner.memory.asleep import residue
from planner.memory.terms import Server


class Asleep(Struct, frozen=True, kw_only=True):
    """How a server passes the time between its turns, in which it keeps less memory.

    ``how`` is ``sleep`` or ``sleep-2``, the engine's sleep on level 1 or 2, or ``stop``. It keeps ``gpu_bytes`` of each
    of its GPUs and ``host_bytes`` of the machine's memory, these from the first time on. It takes ``leave`` to go, up
    to ``first_ms`` longer the first time, and ``enter`` to come back.
    """

    how: str
    gpu_bytes: int
    host_bytes: int
    leave: Span
    enter: Span
    first_ms: int = 0


def awake_sets(groups: Sequence[TimeShare], served: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Return the largest sets of served roles that may be awake together, each sorted; all in one where none turns."""
    names = sorted(served)
    turning = {name for group in groups for name in group.roles}
    members = [[name for name in group.roles if name in names] for group in groups]
    ways = [
        list(combinations(roles, min(group.awake, len(roles)))) for group, roles in zip(groups, members, strict=True)
    ]
    always = [name for name in names if name not in turning]
    return tuple(tuple(sorted([*always, *(name for one in chosen for name in one)])) for chosen in product(*ways))


def asleep_of(
    fleet: Fleet, role: Role, server: Server, gpu: GPU, profile: EngineProfile, weights_bytes: int
) -> Asleep | None:
    """Return how a server of a role passes the time between its turns; None when the role takes none.

    Each of its GPUs holds ``weights_bytes``.
    """
    if not any(role.name in group.roles for group in fleet.time_share):
        return None
    kept = residue(server, gpu, profile, role.sleeps)
    times = start_times(profile.version)
    needed = switch_times(role.sleeps, gpu, times, server.flags.ranks, weights_bytes, kept.host_bytes)
    return Asleep(
        how=fleet.between_turns or STOP,
        gpu_bytes=kept.gpu_bytes,
        host_bytes=kept.host_bytes,
        leave=needed.leave,
        enter=needed.enter,
        first_ms=needed.first_ms,
    )


class Switch(Struct, frozen=True, kw_only=True):
    """A change of turns: one role goes, another comes, and how long that takes."""

    leaving: str
    entering: str
    time: Span


def switches_of(groups: Sequence[TimeShare], passing: Mapping[str, Sequence[Asleep]]) -> tuple[Switch, ...]:
    """Return every change between two roles of a group, given how the servers of each pass their time.

    The slow end is that of servers that go and come one after another, the fast end of all at once.
    """
    changes = []
    for group in groups:
        names = [name for name in group.roles if passing.get(name)]
        for leaving, entering in permutations(names, 2):
            leave, enter = [one.leave for one in passing[leaving]], [one.enter for one in passing[entering]]
            changes.append(Switch(leaving=leaving, entering=entering, time=_together(leave) + _together(enter)))
    return tuple(changes)


def _together(times: Sequence[Span]) -> Span:
    return Span(low_ms=max(time.low_ms for time in times), high_ms=sum(time.high_ms for time in times))
