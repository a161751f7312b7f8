"""What commands that write a plan share: its files, what happened to each, and whether they are up to date."""

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

import click

from planner.artifacts import DEFAULT_TARGETS, HOME, File, Outcome, Verb, changes, render, write
from planner.artifacts.write import foreseen
from planner.cli.colour import shown
from planner.cli.exit_codes import EXIT_FILES_DIFFER
from planner.cli.json_text import say_files
from planner.cli.lock import PLAN_FILE
from planner.cli.shared import hint, say, verb
from planner.cli.summary import differing, ended, next_step
from planner.cli.terminal import verbose
from planner.cli.text import wrapped
from planner.errors import output_errors
from planner.plan import Plan, plan_to_yaml


def plan_files(plan: Plan, templates: Path | None) -> dict[str, File]:
    """Return ``plan.yaml`` and everything rendered from it, by path beside the fleet file."""
    artifacts = render(plan, templates, (*DEFAULT_TARGETS, *plan.lock.targets))
    return {PLAN_FILE: File(plan_to_yaml(plan)), **{f"{HOME}/{path}": file for path, file in artifacts.items()}}


def save(path: Path, content: bytes, *, as_json: bool = False) -> None:
    """Write one file that was asked for by name, and say so.

    Raises:
        OutputError: it cannot be written.
    """
    there = path.exists()
    with output_errors(path):
        path.write_bytes(content)
    done = Verb.OVERWRITE if there else Verb.CREATE
    if as_json:
        say_files([(str(path), done)], written=True)
    verb(done, str(path))


def write_files(
    plan: Plan,
    files: dict[str, File],
    folder: Path,
    *,
    force: bool,
    dry_run: bool,
    as_json: bool = False,
    fresh: bool = False,
) -> bool:
    """Write the files of a plan, say what changed, and return whether one was left alone because it differs.

    A ``fresh`` plan takes the place of the one that is there, whoever wrote that. With ``as_json`` the same is printed
    on stdout too, as a document.
    """
    with _undisturbed() as go_on:
        over = (PLAN_FILE,) if fresh else ()
        outcomes = write(files, folder, force=force, dry_run=dry_run, over=over, go_on=go_on)
    for outcome in outcomes:
        if outcome.verb is not Verb.IDENTICAL or verbose():
            verb(outcome.verb, str(folder / outcome.path))
    conflicts = any(outcome.verb is Verb.CONFLICT for outcome in outcomes)
    if as_json:
        say_files(_paths(outcomes, folder), written=not (conflicts or dry_run))
    if conflicts:
        hint("a file was edited by hand, so nothing was written; --force overwrites it")
    elif dry_run:
        hint("this was a dry run; nothing was written")
    say(ended(plan, outcomes, dry_run=dry_run))
    if not (conflicts or dry_run):
        say(next_step(folder))
    return conflicts


@contextlib.contextmanager
def _undisturbed() -> Iterator[Callable[[], None]]:
    """Let no Ctrl-C come between two files of which one makes no sense without the other.

    One that was pressed is heard where what is yielded is called: while nothing has changed yet.
    """
    pressed = False

    def press(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True

    def go_on() -> None:
        if pressed:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, press)
    try:
        yield go_on
    finally:
        signal.signal(signal.SIGINT, before)


def check_files(
    before: Plan | None, plan: Plan, files: dict[str, File], folder: Path, *, as_json: bool = False
) -> None:
    """Print how the folder differs from the files of a plan, and exit with its code when it does.

    In a few lines first, with what that means against the plan ``before``, then as a unified diff.
    """
    difference = changes(files, folder)
    if as_json:
        would = write(files, folder, force=True, dry_run=True)
        say_files(_paths(would, folder), written=False, current=not difference, diff=difference)
    if difference:
        outcomes = foreseen(files, folder)
        if not as_json:
            click.echo(shown(wrapped(differing(outcomes, before, plan))))
            click.echo()
            click.echo(difference, nl=False)
        if any(outcome.verb is Verb.CONFLICT for outcome in outcomes):
            hint("a file was edited by hand; the same command with --force in place of --check overwrites it")
        else:
            hint("the files are stale; the same command without --check writes them")
        raise SystemExit(EXIT_FILES_DIFFER)


def _paths(outcomes: Sequence[Outcome], folder: Path) -> list[tuple[str, str]]:
    return [(str(folder / outcome.path), outcome.verb) for outcome in outcomes]
