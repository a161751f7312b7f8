"""What the page shows where there is no plan: what roles need and there is, what conflicts, and what would help."""

from collections.abc import Iterator

from msgspec import Struct

from planner import explain
from planner.plan import Change, NoPlan
from planner.units import format_gib, format_missing, parse_tokens


class Bar(Struct, frozen=True, kw_only=True):
    """One bar: its label, its value in the unit of its chart, how that is written, and which kind of bar it is."""

    label: str
    kind: str
    value: int
    text: str


class Relaxation(Struct, frozen=True, kw_only=True):
    """Changes that together make a plan possible.

    ``permille`` is what a number becomes of what it was, None where it is no number.
    """

    changes: tuple[Change, ...]
    permille: int | None


class NoPlanView(Struct, frozen=True, kw_only=True):
    """What the page of a fleet without a plan shows; ``needs`` and ``lacks`` are bytes."""

    title: str
    text: str
    found: NoPlan
    needs: tuple[Bar, ...]
    lacks: tuple[Bar, ...]
    relaxations: tuple[Relaxation, ...]
    fleet_text: str


def no_plan_view(found: NoPlan, fleet_text: str) -> NoPlanView:
    """Return what the page of a fleet without a plan shows."""
    return NoPlanView(
        title=found.fleet,
        text=explain.no_plan(found),
        found=found,
        needs=tuple(_needs(found)),
        lacks=tuple(_lacks(found)),
        relaxations=tuple(_relaxations(found)),
        fleet_text=fleet_text,
    )


def _needs(found: NoPlan) -> Iterator[Bar]:
    if not found.needs:
        return
    for need in found.needs:
        yield Bar(
            label=f"{need.role}, at least", kind="needed", value=need.total_bytes, text=format_gib(need.total_bytes)
        )
    if len(found.needs) > 1:
        together = sum(need.total_bytes for need in found.needs)
        yield Bar(label="all roles, at least", kind="needed", value=together, text=format_gib(together))
    for supply in found.gpus:
        size = supply.capacity_bytes * supply.count
        yield Bar(label=f"{supply.count} × {supply.gpu}", kind="there", value=size, text=format_gib(size))


def _lacks(found: NoPlan) -> Iterator[Bar]:
    for number, conflict in enumerate(found.conflicts, 1):
        if conflict.deficit_bytes:
            lack = conflict.deficit_bytes
            yield Bar(label=f"conflict {number}", kind="lacking", value=lack, text=format_missing(lack))


def _relaxations(found: NoPlan) -> Iterator[Relaxation]:
    for change in found.changes:
        yield Relaxation(changes=(change,), permille=_permille(change))
    for pair in found.pairs:
        yield Relaxation(changes=pair, permille=None)


def _permille(change: Change) -> int | None:
    try:
        before, after = parse_tokens(change.before), parse_tokens(change.after)
    except ValueError:
        return None
    return 1000 * after // before if before else None
