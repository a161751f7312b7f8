"""Rendered files -> a folder, all or nothing, without destroying what a person changed there.

A file that differs from what was written last (``sums``) was edited by hand: that is a conflict, and a conflict stops
the whole write unless it is forced. Only files in ``artifacts/`` are ever removed, and no link is followed on the way.
"""

import difflib
import os
import stat
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from pathlib import Path, PurePath

from msgspec import Struct

from planner.artifacts.sums import HOME, SUMS, digest, parse_sums, sums_file
from planner.artifacts.switch import File, alone, behind_link, settle, switch, under_way
from planner.errors import OutputError, output_errors


class Verb(StrEnum):
    """What happened to one path, or would happen in a dry run."""

    CREATE = "create"
    IDENTICAL = "identical"
    OVERWRITE = "overwrite"
    REMOVE = "remove"
    CONFLICT = "conflict"
    SKIP = "skip"


class Outcome(Struct, frozen=True, order=True):
    """One path, relative to the output folder, and its verb."""

    path: str
    verb: Verb


def write(
    files: Mapping[str, File],
    folder: Path,
    *,
    force: bool = False,
    dry_run: bool = False,
    over: Collection[str] = (),
    go_on: Callable[[], None] | None = None,
) -> tuple[Outcome, ...]:
    """Bring ``folder`` to exactly these artifacts and return one outcome per path, sorted by path.

    ``create``, ``overwrite`` and ``identical`` need no explanation; ``remove`` is a file of an earlier plan that this
    one does not have; ``conflict`` is a file edited by hand, or not ours. With a conflict nothing is written and the
    files that would have changed are ``skip``; ``force`` overwrites instead, and so are paths in ``over`` always.
    ``dry_run`` writes nothing and tells what would happen. ``go_on`` is asked for every file as long as the folder is
    as it was: what it raises ends the write.

    Raises:
        OutputError: the folder or a file in it cannot be read or written, or another process is writing there; the
            files in it are as they were.
    """
    if dry_run:
        return _outcomes(files, folder, force, over)
    with output_errors(folder), alone(folder):
        settle(folder)
        outcomes = _outcomes(files, folder, force, over)
        _apply(files, folder, outcomes, go_on or (lambda: None))
    return outcomes


def changes(files: Mapping[str, File], folder: Path) -> str:
    """Return what writing would change as a unified diff, empty when the folder is up to date.

    A file that only has the wrong permission is named on a line of its own.

    Raises:
        OutputError: a file in the folder cannot be read.
    """
    pieces = []
    for outcome in _changes(files, folder, force=True):
        if outcome.verb is Verb.IDENTICAL:
            continue
        found, wanted = _read(folder / outcome.path), files.get(outcome.path)
        old = found[0].decode(errors="replace") if found else ""
        new = wanted.text if wanted else ""
        if old == new:
            pieces.append(f"{outcome.path}: is not executable\n" if wanted and wanted.executable else "")
            pieces.append(f"{outcome.path}: is executable\n" if wanted and not wanted.executable else "")
        before = f"a/{outcome.path}" if found else "/dev/null"
        after = f"b/{outcome.path}" if wanted else "/dev/null"
        pieces += difflib.unified_diff(old.splitlines(True), new.splitlines(True), before, after)
    return "".join(piece if piece.endswith("\n") or not piece else f"{piece}\n" for piece in pieces)


def foreseen(files: Mapping[str, File], folder: Path) -> tuple[Outcome, ...]:
    """Return what writing would do, by path, with what stands in the way of others though a conflict is there.

    Raises:
        OutputError: a file in the folder cannot be read.
    """
    return _changes(files, folder, force=False)


def edited(folder: Path, path: str) -> bool:
    """Whether a file is not what was written there last; one that no ``SHA256SUMS`` names is not known to be edited.

    Raises:
        OutputError: a file in the folder cannot be read.
    """
    found, last = _read(folder / path), _read_sums(folder).get(path)
    return found is not None and last is not None and last != digest(found[0])


def _outcomes(files: Mapping[str, File], folder: Path, force: bool, over: Collection[str]) -> tuple[Outcome, ...]:
    """Return what happens to every path; with a conflict, that nothing does."""
    outcomes = _changes(files, folder, force, over)
    if all(outcome.verb is not Verb.CONFLICT for outcome in outcomes):
        return outcomes
    waiting = {Verb.CREATE, Verb.OVERWRITE, Verb.REMOVE}
    return tuple(Outcome(outcome.path, Verb.SKIP) if outcome.verb in waiting else outcome for outcome in outcomes)


def _changes(files: Mapping[str, File], folder: Path, force: bool, over: Collection[str] = ()) -> tuple[Outcome, ...]:
    there: dict[PurePath, str] = {}
    for path in files:
        there.setdefault(PurePath(path).parent, path)
    for path in there.values():
        if behind_link(folder, path):
            raise OutputError(str(folder / path), "a folder on the way to it is a link; use --out for another place")
    sums = _read_sums(folder)
    left = {path for path in sums if path not in files and _removable(folder, path)}
    outcomes = []
    for path in sorted({*files, *left}):
        found = _read(folder / path)
        wanted = files.get(path)
        ours = found is not None and sums.get(path) == digest(found[0])
        if wanted is None:
            if found is None:
                continue
            verb = Verb.REMOVE if ours or force else Verb.CONFLICT
        elif found is None:
            verb = Verb.CREATE
        elif found[0] == wanted.content:
            verb = Verb.IDENTICAL if found[1] == wanted.executable else Verb.OVERWRITE
        else:
            verb = Verb.OVERWRITE if ours or force or path in over else Verb.CONFLICT
        outcomes.append(Outcome(path, verb))
    return tuple(outcomes)


def _removable(folder: Path, path: str) -> bool:
    """Whether a path that only ``SHA256SUMS`` names may be looked at: a plain file that really is in ``artifacts/``."""
    try:
        mode = (folder / path).lstat().st_mode
    except (OSError, ValueError):
        return False
    plain = stat.S_ISREG(mode) or under_way(folder / path)
    return plain and path.startswith(f"{HOME}/") and path != SUMS and not behind_link(folder, path)


def _apply(files: Mapping[str, File], folder: Path, outcomes: tuple[Outcome, ...], go_on: Callable[[], None]) -> None:
    new = {outcome.path: files[outcome.path] for outcome in outcomes if outcome.verb in {Verb.CREATE, Verb.OVERWRITE}}
    gone = [outcome.path for outcome in outcomes if outcome.verb is Verb.REMOVE]
    if any(outcome.verb in {Verb.CONFLICT, Verb.SKIP} for outcome in outcomes):
        return
    sums = sums_file(files)
    if _read(folder / SUMS) != (sums.content, False):
        new[SUMS] = sums
    if new or gone:
        switch(folder, new, gone, go_on)


def _read_sums(folder: Path) -> dict[str, str]:
    """The digests written last, by path; none where the file is a link to another place."""
    found = _read(folder / SUMS)
    return parse_sums(found[0]) if found and not behind_link(folder, SUMS) else {}


def _read(path: Path) -> tuple[bytes, bool] | None:
    """Content and executable bit of a file, or None when there is none; the content of a link is where it leads."""
    with output_errors(path, "read"):
        if not os.path.lexists(path):
            return None
        if path.is_symlink() and not under_way(path):
            return str(path.readlink()).encode(errors="surrogateescape"), False
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise OutputError(str(path), "is no plain file")
        return path.read_bytes(), bool(mode & stat.S_IXUSR)
