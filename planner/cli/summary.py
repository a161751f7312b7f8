"""What a command did, or would do, in one line at its end or beginning: servers, GPUs, and what becomes of files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from planner import explain
from planner.artifacts import HOME, Outcome, Verb
from planner.cli.lock import PLAN_FILE
from planner.explain.words import plural
from planner.plan import Plan, differences

_LISTED = 8
"""Files that are named; more of them are counted."""


def ended(plan: Plan, outcomes: Sequence[Outcome], *, dry_run: bool) -> str:
    """Return the last line: how large a plan is, and what became of its files."""
    servers, gpus = plural(len(plan.servers), "server"), plural(sum(bool(gpu.servers) for gpu in plan.gpus), "GPU")
    files = plural(sum(outcome.verb is not Verb.REMOVE for outcome in outcomes), "file")
    return f"Plan: {servers} on {gpus}, {files}: {', '.join(_counts(outcomes, dry_run))}"


def _counts(outcomes: Sequence[Outcome], dry_run: bool) -> Iterator[str]:
    to_come = dry_run or any(outcome.verb is Verb.CONFLICT for outcome in outcomes)
    done = {
        Verb.IDENTICAL: "unchanged",
        Verb.CREATE: "to create" if to_come else "created",
        Verb.OVERWRITE: "to update" if to_come else "updated",
        Verb.REMOVE: "to remove" if to_come else "removed",
        Verb.SKIP: "left as they are",
    }
    for verb, word in done.items():
        if count := sum(outcome.verb is verb for outcome in outcomes):
            yield f"{count} {word}"
    edited = sum(outcome.verb is Verb.CONFLICT for outcome in outcomes)
    yield f"{edited or 'none'} edited by hand"


def next_step(folder: Path) -> str:
    """Return the command that shows how to start what was rendered."""
    return f"Next: less {folder / HOME / 'README.md'}"


def differing(outcomes: Sequence[Outcome], before: Plan | None, now: Plan) -> str:
    """Return what ``--check`` begins with: which files differ and why, and what the plan that is there would become."""
    other = [outcome for outcome in outcomes if outcome.verb is not Verb.IDENTICAL]
    why = {
        Verb.CREATE: "missing",
        Verb.OVERWRITE: "not up to date",
        Verb.REMOVE: "no longer needed",
        Verb.CONFLICT: "edited by hand",
    }
    differ = "differs" if len(other) == 1 else "differ"
    lines = [f"{len(other)} of {plural(len(outcomes), 'file')} {differ} from what is planned now:"]
    lines += [f"  {outcome.path}: {why[outcome.verb]}" for outcome in other[:_LISTED]]
    if len(other) > _LISTED:
        lines.append(f"  … and {len(other) - _LISTED} more")
    changed = differences(before, now) if before else ()
    if changed:
        lines += [f"What {PLAN_FILE} promises would change:"]
        lines += [f"  {line}" for line in explain.difference(changed).splitlines()]
    return "\n".join(lines)
