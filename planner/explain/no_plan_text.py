"""Why a fleet cannot be served, in the order in which a reader asks: what, by how much, why, and what helps."""

from collections.abc import Iterator

from planner.explain.rejections import rejection_lines
from planner.explain.words import accuracy, listed, plural
from planner.plan import Change, Need, NoPlan, Requirement
from planner.units import format_apart, format_gib, format_missing, format_tokens


def no_plan(found: NoPlan) -> str:
    """Return the whole explanation; hints come last, one a line."""
    paragraphs = [_headline(found), *_empty_roles(found), _needs(found), *_conflicts(found), _hints(found)]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _headline(found: NoPlan) -> str:
    gpus = [f"{supply.count} × {supply.gpu}" for supply in found.gpus]
    return f"no plan exists for {found.fleet} on {listed(gpus)}"


def _empty_roles(found: NoPlan) -> Iterator[str]:
    """One paragraph for each role that nothing is left for, with the reasons."""
    alone = "the GPU" if _single(found) else "all GPUs"
    for role in found.empty_roles:
        reasons = rejection_lines(item for item in found.rejections if item.role == role)
        yield "\n".join([f"{role}: no variant can serve it, even with {alone} to itself", *(f"  {r}" for r in reasons)])


def _single(found: NoPlan) -> bool:
    return sum(supply.count for supply in found.gpus) == 1


def _needs(found: NoPlan) -> str:
    """The arithmetic: the least every role takes, and what there is."""
    if not found.deficit_bytes:
        return ""
    rows = [(need.role, format_gib(need.total_bytes), _with(found, need)) for need in found.needs]
    total = sum(need.total_bytes for need in found.needs)
    needed, there = format_apart(total, found.gpus[0].capacity_bytes) if _single(found) else (format_gib(total), "")
    rows += [("together", needed, _supply(found, there))]
    width = max(len(row[0]) for row in rows)
    amount = max(len(row[1]) for row in rows)
    lines = [f"  {name:<{width}}  {size:>{amount}}  {text}" for name, size, text in rows]
    return "\n".join(["The least that each role takes:", *lines])


def _supply(found: NoPlan, there: str) -> str:
    """Say what there is, on a single GPU as ``there`` says it, and how much that lacks."""
    if _single(found):
        return f"of {there} on the GPU: {format_missing(found.deficit_bytes)} too little"
    amounts = [f"{supply.count} × {format_gib(supply.capacity_bytes)}" for supply in found.gpus]
    return f"where there are {listed(amounts)}: each GPU lacks {format_missing(found.deficit_bytes)}"


def _with(found: NoPlan, need: Need) -> str:
    limits = f"{format_tokens(need.max_model_len)} context, {plural(need.max_num_seqs, 'request')}"
    stages = f"{need.pipeline_parallel_size} stages of " if need.pipeline_parallel_size > 1 else ""
    ranks = f"{need.data_parallel_size} data-parallel ranks of " if need.data_parallel_size > 1 else ""
    large = any(supply.pool == need.pool and need.needed_bytes > supply.capacity_bytes for supply in found.gpus)
    on = "too much for" if large else "on"  # in all no split of the role takes less, be it on too few GPUs
    gpus = f", {on} {ranks}{stages}{plural(need.tensor_parallel_size, 'GPU')}"
    where = f"{gpus} of {need.pool}" if len(found.gpus) > 1 else "" if _single(found) else gpus
    many = f"{need.replicas} × " if need.replicas > 1 else ""
    return (
        f"{many}{need.repository}, {limits}, KV cache {need.kv_cache_dtype}, batch {need.max_num_batched_tokens}{where}"
    )


def _conflicts(found: NoPlan) -> Iterator[str]:
    """One paragraph for each conflict: what excludes each other, and whether that is all there is in the way."""
    for number, one in enumerate(found.conflicts):
        if one.deficit_bytes:
            where = "" if _single(found) else " on each GPU"
            head = f"These requirements alone need {format_missing(one.deficit_bytes)} more{where} than there is"
        else:
            head = "Nothing meets these requirements together"
        head = f"Besides, {head[0].lower()}{head[1:]}" if number else head
        reason = "; without any one of them there is a plan:" if one.decisive and len(one.requirements) > 1 else ":"
        yield "\n".join([head + reason, *(f"  {_requirement(item)}" for item in one.requirements)])


def _requirement(item: Requirement) -> str:
    return f"{item.path}: {item.value}" if item.value else f"{item.path} must be served"


def _hints(found: NoPlan) -> str:
    if found.pairs:
        lines = [f"hint: do both: {_change(one)}; {_change(other)}" for one, other in found.pairs]
        return "\n".join(["Of the changes tried none alone makes a plan possible, two together do:", *lines])
    if found.cut and not found.changes:
        return "hint: the budget ran out before any change was found that helps (--time-limit gives more)"
    if not found.changes:
        return "hint: no single change makes a plan possible; drop or relax several of the requirements above"
    several = "Each of these changes alone makes a plan possible, the least first:\n" if len(found.changes) > 1 else ""
    cut = "\nOthers were not tried, because the budget ran out (--time-limit gives more)." if found.cut else ""
    return several + "\n".join(f"hint: {_change(change)}" for change in found.changes) + cut


def _change(change: Change) -> str:
    if not change.after:
        return f"drop {change.path} ({change.before})" if change.before else f"leave out {change.path}"
    cost = f" ({accuracy(change.accuracy)})" if change.accuracy else ""
    instead = f" instead of {change.before}" if change.before else ""
    return f"set {change.path} to {change.after}{instead}{cost}"
