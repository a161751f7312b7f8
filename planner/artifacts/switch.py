"""From one set of files to another at one moment: whoever looks finds all files as they were, or all as they will be.

Renames change one file each, so a run that is killed between two of them would leave files of two plans. Here every
file that changes first becomes a link into a folder beside them, where all paths lead through one more link, ``now``:
to the old files, then, by a single rename, to the new ones. After that each link becomes the file it leads to. A run
that is killed on the way leaves links, through which everything can be read; the next run finishes what is under way.

Files in a folder that is not there yet need no link each: the topmost such folder is one link for all of them, where
the operating system can exchange it for the folder itself in the end.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePath

from msgspec import Struct

from planner.artifacts.exchange import exchange, exchanges
from planner.errors import OutputError

_STATE = ".planner-switch"
_OLD, _NEW, _NOW = "old", "new", "now"
_PATIENCE_SECONDS = 10
_MANY = 256
"""Files from which on the whole disk is asked once to keep them: 4,000 new ones took 4.1 s of CPU with asking for each,
and 0.6 s with that and their folder put into place whole."""
_NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP)
"""What file systems answer that cannot lock a folder; NFS asks for a file that is open for writing (nfs(5))."""


class File(Struct, frozen=True):
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


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make a folder where there is none, and let one process at a time write to it; another waits for its turn.

    Raises:
        OutputError: the other does not end.
        OSError: there is no such folder, and none can be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def switch(
    folder: Path, new: Mapping[str, File], gone: Collection[str], go_on: Callable[[], None] = lambda: None
) -> None:
    """Bring ``new`` into a folder and take ``gone`` out of it, at one moment; paths are relative to the folder.

    Until everything is written beside the files, ``go_on`` is asked for each: what it raises ends the switch.

    Raises:
        OSError: something cannot be written; the files are as they were.
    """
    state = folder / _STATE
    state.mkdir()
    try:
        paths = (*_topmost(folder, new, state), *gone)
        for path in paths:
            if os.path.lexists(folder / path):
                _copy(folder / path, state / _OLD / path)
        _write_all(state / _NEW, new, go_on)
        (state / _NOW).symlink_to(_OLD)
        for path in paths:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            _link(folder / path, Path(os.path.relpath(state / _NOW / path, (folder / path).parent)))
        _link(state / _NOW, Path(_NEW))
    finally:
        settle(folder)


def settle(folder: Path) -> None:
    """Finish a switch: links become what they lead to, and nothing is left of the switch itself.

    Raises:
        OSError: something cannot be written; what is there can be read, and settled another time.
    """
    state = folder / _STATE
    if state.is_symlink() or not state.is_dir():
        state.unlink(missing_ok=True)
        return
    now = state / _NOW
    if now.is_symlink() and (side := str(now.readlink())) in (_OLD, _NEW):
        for path in _paths(folder, state):
            if not behind_link(folder, path):
                _settle(folder, path, state / side / path)
    shutil.rmtree(state)


def _topmost(folder: Path, paths: Iterable[str], state: Path) -> list[str]:
    """Return paths with those in a folder that is not there replaced by it, the topmost one, if that can be settled."""
    found: dict[str, None] = {}
    able: bool | None = None
    there: dict[PurePath, str] = {}
    for path in paths:
        parent = PurePath(path).parent
        if parent not in there:
            above = [str(one) for one in reversed(PurePath(path).parents[:-1])]
            there[parent] = next((one for one in above if not os.path.lexists(folder / one)), "")
        missing = there[parent]
        if missing and able is None:
            able = exchanges(state)
        found[missing if missing and able else path] = None
    return list(found)


def _write_all(folder: Path, files: Mapping[str, File], go_on: Callable[[], None]) -> None:
    """Write files into a new folder, and have the disk keep them."""
    many = len(files) > _MANY
    made: set[Path] = set()
    for path, file in files.items():
        go_on()
        target = folder / path
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        _write(target, file, lasting=not many)
    if many:
        os.sync()


def behind_link(folder: Path, path: str) -> bool:
    """Whether a folder on the way to a path is a link, so that the file may be anywhere."""
    return any((folder / parent).is_symlink() for parent in PurePath(path).parents[:-1])


def under_way(path: Path) -> bool:
    """Whether a path is a link that a switch has put in the place of a file."""
    return path.is_symlink() and _STATE in path.readlink().parts


def prune(folder: Path, path: str) -> None:
    """Remove the folders on the way to a path that nothing is left in."""
    for parent in PurePath(path).parents[:-1]:
        with contextlib.suppress(OSError):
            (folder / parent).rmdir()


def _lock(descriptor: int, folder: Path) -> None:
    """Hold a folder until its descriptor is closed, which happens too when the process is killed."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                message = "another planner has been writing here for a while; try again when it has ended"
                raise OutputError(str(folder), message) from None
            time.sleep(0.02)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return
            raise


def _paths(folder: Path, state: Path) -> list[str]:
    """Return the paths that a switch is about: files, and folders that are one link."""
    found = set()
    for side in (state / _OLD, state / _NEW):
        for here, folders, names in os.walk(side):
            inside = os.path.relpath(here, side)
            places = {name: folder / inside / name for name in folders}
            linked = {name for name, place in places.items() if under_way(place) or under_way(_beside(place))}
            folders[:] = [name for name in folders if name not in linked]
            found |= {str(PurePath(inside, name)) for name in (*names, *linked)}
    return sorted(found)


def _settle(folder: Path, path: str, source: Path) -> None:
    target = folder / path
    _beside(target).unlink(missing_ok=True)
    if under_way(target):
        if source.is_dir() and not source.is_symlink():
            exchange(source, target)
        elif os.path.lexists(source):
            _copy(source, _beside(target))
            _beside(target).replace(target)
        else:
            target.unlink()
    prune(folder, path)


def _link(target: Path, to: Path) -> None:
    """Put a link in the place of a file."""
    beside = _beside(target)
    beside.unlink(missing_ok=True)
    beside.symlink_to(to)
    beside.replace(target)


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.new")


def _copy(source: Path, target: Path) -> None:
    """Give a file a second name, which costs nothing and keeps its owner; a copy where there is no such thing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _write(target: Path, file: File, *, lasting: bool) -> None:
    with target.open("xb") as stream:
        stream.write(file.content)
        if lasting:
            stream.flush()
            os.fsync(stream.fileno())
    target.chmod(file.mode)
