"""Start order: when every server begins to start and when it answers at the latest, from the first one's begin."""

import itertools
from collections.abc import Iterator, Sequence

from msgspec import Struct

from planner.artifacts.processes import Server, all_processes
from planner.engine.options import engine_options
from planner.explain.alike import servers_in_short
from planner.plan import Plan
from planner.report.servers import together


class Start(Struct, frozen=True, kw_only=True):
    """One process: it waits ``after`` others that share a GPU with it, and then starts.

    It is the ``order``-th to start on its GPUs: the first ones of all GPUs start at once.
    ``end_seconds`` is the latest end of a first start, which compiles; ``later_end_seconds`` that of one that finds
    everything compiled. Both are the limits of the rendered files.
    """

    server: str
    role: str
    node: str
    order: int
    after: tuple[str, ...]
    begin_seconds: int
    end_seconds: int
    later_begin_seconds: int
    later_end_seconds: int


class StartRow(Struct, frozen=True, kw_only=True):
    """One process, or those that start alike, as the page tells of them; ``after`` names those they wait for."""

    name: str
    order: int
    after: str
    begin_seconds: int
    end_seconds: int
    later_end_seconds: int


def starts(plan: Plan) -> tuple[Start, ...]:
    """Return the processes that are started with the fleet, in the order in which they start.

    The parts of a server on several nodes answer together, when the last of them has begun and taken its time.
    """
    found: dict[tuple[str, str], Start] = {}
    first = [process for process in all_processes(plan, engine_options(plan.engine_version)) if process.first]
    for _, group in itertools.groupby(first, lambda process: process.name):
        parts = list(group)
        waits = [_earlier(part, found) for part in parts]
        begins = [max((one.end_seconds for one in own), default=0) for own in waits]
        later_begins = [max((one.later_end_seconds for one in own), default=0) for own in waits]
        end = max(begins) + max(part.start_seconds for part in parts)
        later_end = max(later_begins) + max(part.later_start_seconds for part in parts)
        for part, own, begin, later in zip(parts, waits, begins, later_begins, strict=True):
            found[part.node, part.name] = Start(
                server=part.name,
                role=part.role,
                node=part.node,
                order=1 + max((one.order for one in own), default=0),
                after=tuple(one.server for one in own),
                begin_seconds=begin,
                end_seconds=end,
                later_begin_seconds=later,
                later_end_seconds=later_end,
            )
    return tuple(found.values())


def start_rows(plan: Plan, found: Sequence[Start]) -> Iterator[StartRow]:
    """Yield what starts when, in a large plan servers of a role that begin together after the same roles as one."""
    several = len({one.node for one in found}) > 1
    if not together(plan):
        for one in found:
            yield _row(one, f"{one.server} on {one.node}" if several else one.server, ", ".join(one.after))
        return
    roles = {one.server: one.role for one in found}
    rows: dict[object, list[Start]] = {}
    for one in found:
        before = tuple(roles[name] for name in one.after)
        times = one.begin_seconds, one.end_seconds, one.later_begin_seconds, one.later_end_seconds
        rows.setdefault((one.role, before, times), []).append(one)
    for parts in rows.values():
        columns = zip(*(one.after for one in parts), strict=True)
        after = [servers_in_short(names, roles[names[0]]) for names in columns]
        names = servers_in_short(list(dict.fromkeys(one.server for one in parts)), parts[0].role)
        yield _row(parts[0], names, ", ".join(after))


def _row(one: Start, name: str, after: str) -> StartRow:
    return StartRow(
        name=name,
        order=one.order,
        after=after,
        begin_seconds=one.begin_seconds,
        end_seconds=one.end_seconds,
        later_end_seconds=one.later_end_seconds,
    )


def _earlier(part: Server, found: dict[tuple[str, str], Start]) -> list[Start]:
    return [found[part.node, name] for name in part.after if (part.node, name) in found]
