"""Why a fleet cannot be served, in the order in which a reader asks: what, by how much, why, and what helps."""

from collections.abc import Iterator

from planner.explain.rejections import rejection
from planner.explain.words import accuracy, less, more, plural
from planner.plan import Change, Need, NoPlan, Requirement
from planner.units import format_tokens

_MOST_REJECTIONS = 8


def no_plan(found: NoPlan) -> str:
    """Return the whole explanation; hints come last, one a line."""
    paragraphs = [_headline(found), *_empty_roles(found), _needs(found), _conflict(found), _hints(found)]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _headline(found: NoPlan) -> str:
    return f"no plan exists for {found.fleet} on {found.gpu_count} × {found.gpu}"


def _empty_roles(found: NoPlan) -> Iterator[str]:
    """One paragraph for each role that nothing is left for, with the reasons."""
    for role in found.empty_roles:
        reasons = [rejection(item) for item in found.rejections if item.role == role]
        lines = [f"{role}: no variant can serve it, even with the GPU to itself", *(f"  {text}" for text in reasons)]
        if len(reasons) > _MOST_REJECTIONS:
            lines = [*lines[: _MOST_REJECTIONS + 1], f"  … and {len(reasons) - _MOST_REJECTIONS} more"]
        yield "\n".join(lines)


def _needs(found: NoPlan) -> str:
    """The arithmetic: the least every role takes, and what there is."""
    if not found.deficit_bytes:
        return ""
    rows = [(need.role, more(need.needed_bytes), _with(need)) for need in found.needs]
    total = sum(need.needed_bytes for need in found.needs)
    there = f"{less(found.capacity_bytes)} on {'the GPU' if found.gpu_count == 1 else 'each GPU'}"
    rows += [("together", more(total), f"of {there}: {more(found.deficit_bytes)} too little")]
    width = max(len(row[0]) for row in rows)
    amount = max(len(row[1]) for row in rows)
    lines = [f"  {name:<{width}}  {size:>{amount}}  {text}" for name, size, text in rows]
    return "\n".join(["The least that each role takes:", *lines])


def _with(need: Need) -> str:
    limits = f"{format_tokens(need.max_model_len)} context, {plural(need.max_num_seqs, 'request')}"
    return f"{need.repository}, {limits}, KV cache {need.kv_cache_dtype}, batch {need.max_num_batched_tokens}"


def _conflict(found: NoPlan) -> str:
    if not found.conflict:
        return ""
    if found.conflict_deficit_bytes:
        head = f"These requirements alone need {more(found.conflict_deficit_bytes)} more than there is"
    else:
        head = "No variant meets these requirements together"
    reason = "; without any one of them there is a plan:" if len(found.conflict) > 1 else ":"
    return "\n".join([head + reason, *(f"  {_requirement(item)}" for item in found.conflict)])


def _requirement(item: Requirement) -> str:
    return f"{item.path}: {item.value}" if item.value else f"{item.path} must be served"


def _hints(found: NoPlan) -> str:
    if not found.changes:
        return "hint: no single change makes a plan possible; drop or relax several of the requirements above"
    return "\n".join(f"hint: {_change(change)}" for change in found.changes)


def _change(change: Change) -> str:
    if not change.after:
        return f"leave out {change.path}"
    cost = f" ({accuracy(change.accuracy)})" if change.accuracy else ""
    return f"{change.path}: {change.after} instead of {change.before}{cost}"
