"""Rendered files -> a folder, all or nothing, without destroying what a person changed there.

``artifacts/SHA256SUMS`` remembers what was written last (``sha256sum --check`` reads it too). A file that differs from
it was edited by hand: that is a conflict, and a conflict stops the whole write unless it is forced.
"""

import contextlib
import difflib
import hashlib
import os
import posixpath
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from planner.errors import OutputError

HOME = "artifacts"
SUMS = f"{HOME}/SHA256SUMS"
"""Its paths are relative to its own folder, as ``sha256sum --check`` wants them."""


@dataclass(frozen=True, slots=True)
class File:
    """One artifact: its text, and whether it is a program."""

    text: str
    executable: bool = False

    @property
    def content(self) -> bytes:
        """The bytes on disk."""
        return self.text.encode()

    @property
    def mode(self) -> int:
        """The permission bits on disk."""
        return 0o755 if self.executable else 0o644


class Verb(StrEnum):
    """What happened to one path, or would happen in a dry run."""

    CREATE = "create"
    IDENTICAL = "identical"
    OVERWRITE = "overwrite"
    REMOVE = "remove"
    CONFLICT = "conflict"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, order=True)
class Outcome:
    """One path, relative to the output folder, and its verb."""

    path: str
    verb: Verb


def write(
    files: Mapping[str, File], folder: Path, *, force: bool = False, dry_run: bool = False
) -> tuple[Outcome, ...]:
    """Bring ``folder`` to exactly these artifacts and return one outcome per path, sorted by path.

    ``create``, ``overwrite`` and ``identical`` need no explanation; ``remove`` is a file of an earlier plan that this
    one does not have; ``conflict`` is a file edited by hand, or not ours. With a conflict nothing is written and the
    files that would have changed are ``skip``; ``force`` overwrites instead. ``dry_run`` writes nothing and tells what
    would happen.

    Raises:
        OutputError: the folder or a file in it cannot be read or written; the files in it are as they were.
    """
    sums = _read_sums(folder)
    outcomes = _plan(files, folder, sums, force)
    if any(outcome.verb is Verb.CONFLICT for outcome in outcomes):
        waiting = {Verb.CREATE, Verb.OVERWRITE, Verb.REMOVE}
        return tuple(Outcome(outcome.path, Verb.SKIP) if outcome.verb in waiting else outcome for outcome in outcomes)
    if not dry_run:
        _apply(files, folder, outcomes)
    return outcomes


def changes(files: Mapping[str, File], folder: Path) -> str:
    """Return what writing would change as a unified diff, empty when the folder is up to date.

    A file that only has the wrong permission is named on a line of its own.

    Raises:
        OutputError: a file in the folder cannot be read.
    """
    pieces = []
    for outcome in _plan(files, folder, _read_sums(folder), force=True):
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


def edited(folder: Path, path: str) -> bool:
    """Whether a file is not what was written there last; one that no ``SHA256SUMS`` names is not known to be edited.

    Raises:
        OutputError: a file in the folder cannot be read.
    """
    found, digest = _read(folder / path), _read_sums(folder).get(path)
    return found is not None and digest is not None and digest != _digest(found[0])


def _plan(files: Mapping[str, File], folder: Path, sums: Mapping[str, str], force: bool) -> tuple[Outcome, ...]:
    outcomes = []
    for path in sorted({*files, *sums}):
        found = _read(folder / path)
        wanted = files.get(path)
        ours = found is not None and sums.get(path) == _digest(found[0])
        if wanted is None:
            if found is None:
                continue
            verb = Verb.REMOVE if ours or force else Verb.CONFLICT
        elif found is None:
            verb = Verb.CREATE
        elif found[0] == wanted.content:
            verb = Verb.IDENTICAL if found[1] == wanted.executable else Verb.OVERWRITE
        else:
            verb = Verb.OVERWRITE if ours or force else Verb.CONFLICT
        outcomes.append(Outcome(path, verb))
    return tuple(outcomes)


def _apply(files: Mapping[str, File], folder: Path, outcomes: tuple[Outcome, ...]) -> None:
    changed = [outcome.path for outcome in outcomes if outcome.verb in {Verb.CREATE, Verb.OVERWRITE}]
    sums = File(
        "".join(f"{_digest(file.content)}  {posixpath.relpath(path, HOME)}\n" for path, file in sorted(files.items()))
    )
    pending: list[tuple[Path, Path]] = []
    with _output_errors(folder):
        try:
            for path in changed:
                pending.append(_stage(folder / path, files[path]))
            if _read(folder / SUMS) != (sums.content, False):
                pending.append(_stage(folder / SUMS, sums))
            for temporary, target in pending:
                temporary.replace(target)
        finally:
            for temporary, _ in pending:
                temporary.unlink(missing_ok=True)
        for outcome in outcomes:
            if outcome.verb is Verb.REMOVE:
                _remove(folder, folder / outcome.path)


def _stage(target: Path, file: File) -> tuple[Path, Path]:
    """Write the new content beside its target, so that the rename which follows cannot fail halfway."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as stream:
            stream.write(file.content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(file.mode)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary, target


def _remove(folder: Path, path: Path) -> None:
    path.unlink(missing_ok=True)
    for parent in path.relative_to(folder).parents:
        if parent.parts and not any((folder / parent).iterdir()):
            (folder / parent).rmdir()


def _read_sums(folder: Path) -> dict[str, str]:
    """The digests written last, by path; lines that are not ours, or climb out of the folder, are ignored."""
    found = _read(folder / SUMS)
    sums = {}
    for line in (found[0].decode(errors="replace") if found else "").splitlines():
        digest, _, listed = line.partition("  ")
        path = posixpath.normpath(posixpath.join(HOME, listed))
        if len(digest) == 64 and listed and not path.startswith(("/", "..")):
            sums[path] = digest
    return sums


def _read(path: Path) -> tuple[bytes, bool] | None:
    """Content and executable bit of a file, or None when there is none."""
    with _output_errors(path):
        try:
            return path.read_bytes(), bool(path.stat().st_mode & stat.S_IXUSR)
        except FileNotFoundError:
            return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(str(error.filename or path), (error.strerror or str(error)).lower()) from error
