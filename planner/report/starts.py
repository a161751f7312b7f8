"""Start order: when every server begins to start and when it answers at the latest, from the first one's begin."""

import itertools

from msgspec import Struct

from planner.artifacts.processes import Server, all_processes
from planner.engine.options import engine_options
from planner.plan import Plan


class Start(Struct, frozen=True, kw_only=True):
    """One process: it waits ``after`` others that share a GPU with it, and then starts.

    ``end_seconds`` is the latest end of a first start, which compiles; ``later_end_seconds`` that of one that finds
    everything compiled. Both are the limits of the rendered files.
    """

    server: str
    node: str
    after: tuple[str, ...]
    begin_seconds: int
    end_seconds: int
    later_begin_seconds: int
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
                node=part.node,
                after=tuple(one.server for one in own),
                begin_seconds=begin,
                end_seconds=end,
                later_begin_seconds=later,
                later_end_seconds=later_end,
            )
    return tuple(found.values())


def _earlier(part: Server, found: dict[tuple[str, str], Start]) -> list[Start]:
    return [found[part.node, name] for name in part.after if (part.node, name) in found]
