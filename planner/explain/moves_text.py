"""What is to be done on the machines to get from one plan to another, step by step, in words."""

import itertools
from collections.abc import Iterator, Sequence

from planner.explain.named import named
from planner.explain.words import listed, places, plural
from planner.plan.moves import Gap, Move, Moves, Step
from planner.units import ceil_div

_FEW = 4
"""Servers up to which it is said of each where it is."""


def moves(found: Moves, *, proven: bool = False) -> str:
    """Return what stays, what becomes of each other server, the steps in their order, and the gaps; all a line each.

    ``proven`` says that no plan leaves more servers as they are.
    """
    most = ", and no plan leaves more" if proven else ""
    lines = [f"{found.stay} of {plural(found.were, 'server')} that run stay as they are{most}."]
    if not found.moves:
        return lines[0]
    lines += ["What changes:", *(f"  {line}" for line in _changes(found.moves))]
    if found.steps:
        lines += [_heading(found), *(f"  {line}" for line in _steps(found.steps))]
    lines += [f"  {line}" for line in _gaps(found.gaps)]
    return "\n".join(lines)


def _heading(found: Moves) -> str:
    if found.gaps:
        return "Steps, in an order that leaves little short; every start is waited for:"
    return "Steps, in an order that never has a role below its minimum; every start is waited for:"


def _changes(found: Sequence[Move]) -> Iterator[str]:
    """Yield a line for each server, or one for many alike."""
    for (kind, role, lost), group in itertools.groupby(found, lambda move: (move.kind, move.role, move.lost)):
        own = list(group)
        if len(own) > _FEW and kind in ("started", "stopped"):
            names = named(move.after or move.before for move in own)
            yield f"{names} of {role}: {kind}{', its GPUs are lost' if lost else ''}"
        else:
            yield from map(_change, own)


def _change(move: Move) -> str:
    lost = ", which is lost," if move.lost else ""
    if move.kind == "started":
        return f"{move.after}: started on GPU {places(move.target)}"
    if move.kind == "stopped":
        return f"{move.before}: stopped on GPU {places(move.source)}{lost.rstrip(',')}"
    was = f" (was {move.before})" if move.before != move.after else ""
    loads = f", and loads {move.loads} in place of {move.had}" if move.loads else ""
    if move.kind == "reconfigured":
        return f"{move.after}{was}: reconfigured on GPU {places(move.target)}{loads}"
    return f"{move.after}{was}: moved from GPU {places(move.source)}{lost} to GPU {places(move.target)}{loads}"


def _steps(steps: Sequence[Step]) -> Iterator[str]:
    """Yield the steps with their numbers, many alike in a row in one line."""
    number = 1
    for key, group in itertools.groupby(_turns(steps), lambda turn: (turn[0].role, [step.action for step in turn])):
        turns, each = list(group), len(key[1])
        if len(turns) <= _FEW:
            for step in itertools.chain.from_iterable(turns):
                took = f", up to {_time(step.seconds)}" if step.seconds else ""
                yield f"{number}. {step.action} {step.server} on GPU {places(step.groups)}{took}"
                number += 1
            continue
        names, seconds = named(turn[0].server for turn in turns), max(turn[-1].seconds for turn in turns)
        took = f", up to {_time(seconds)} each" if seconds else ""
        what = " and ".join(step.action for step in turns[0])
        last = number + len(turns) * each - 1
        yield f"{number} to {last}. {what}, one after another: {names}{took}"
        number = last + 1


def _turns(steps: Sequence[Step]) -> Iterator[tuple[Step, ...]]:
    """Yield steps alone, and a stop and a start of one server together, whichever comes first."""
    left = list(reversed(steps))
    while left:
        step = left.pop()
        if left and left[-1].server == step.server:
            yield step, left.pop()
        else:
            yield (step,)


def _gaps(found: Sequence[Gap]) -> Iterator[str]:
    """Yield the gaps, those of one role that are alike in one line."""
    alike: dict[tuple[object, ...], list[Gap]] = {}
    for gap in found:
        shape = (gap.role, gap.servers, gap.of_servers, gap.requests, gap.of_requests, gap.last - gap.first)
        alike.setdefault(shape, []).append(gap)
    for gaps in alike.values():
        yield _gap(gaps)


def _gap(gaps: Sequence[Gap]) -> str:
    gap, short = gaps[0], []
    if gap.servers < gap.of_servers:
        short.append(f"{gap.servers} of {plural(gap.of_servers, 'server')}")
    if gap.requests < gap.of_requests:
        short.append(f"{gap.requests} of {plural(gap.of_requests, 'request')} at once")
    when = f"after step {gap.first}" if gap.last == gap.first + 1 else f"from step {gap.first} to step {gap.last}"
    again = f", and {len(gaps) - 1} times more" if len(gaps) > 1 else ""
    each = " each" if len(gaps) > 1 else ""
    most = _time(max(one.seconds for one in gaps))
    return f"gap: {when}{again}, {gap.role} has {listed(short)} for up to {most}{each}; no order was found without"


def _time(seconds: int) -> str:
    """Write a time in minutes, or hours where it is long."""
    minutes = ceil_div(seconds, 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
