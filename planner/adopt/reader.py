"""The texts of the files at hand: those that are given, and those beside them that they name."""

from pathlib import Path, PurePosixPath

from msgspec import Struct, field

from planner.adopt.templates import hide
from planner.errors import InputError, Problem

_MOST_BYTES = 4 << 20
_LONGEST_NAME = 255
"""Bytes of a file's name on Linux (NAME_MAX)."""


class Reader(Struct):
    """Reads the files at hand by the last part of their names, and remembers which were.

    ``made`` is what scripts write, by its path, ``writing`` the paths of it that have been followed.
    """

    paths: tuple[Path, ...]
    texts: dict[Path, str] = field(default_factory=dict)
    used: set[Path] = field(default_factory=set)
    made: dict[str, str] = field(default_factory=dict)
    writing: set[Path] = field(default_factory=set)

    def text(self, path: Path) -> str:
        """Return a file's text; raises InputError where it cannot be read."""
        if path not in self.texts:
            self.texts[path] = _read(path)
        return self.texts[path]

    def beside(self, name: str) -> str | None:
        """Return the text of the file that a path names, where one of its name is at hand."""
        last = PurePosixPath(name).name
        if not last or "$" in last or len(last.encode()) > _LONGEST_NAME:
            return None
        if (written := self.made.get(name)) is not None:
            return written
        folders = dict.fromkeys(path.parent for path in self.paths)
        for path in (*self.paths, *(folder / last for folder in folders)):
            if path.name == last and path.is_file() and path.stat().st_size <= _MOST_BYTES:
                try:
                    found = self.text(path)
                except InputError:
                    return None
                self.used.add(path)
                return found
        return None


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError((Problem(str(path), 0, 0, "", "is larger than a file that starts servers"),))
        data = path.read_bytes()
    except OSError as error:
        raise InputError((Problem(str(path), 0, 0, "", (error.strerror or str(error)).lower()),)) from error
    if b"\0" in data:
        raise InputError((Problem(str(path), 0, 0, "", "is no text"),))
    text = data.decode("utf-8-sig", "replace")
    return text if path.suffix == ".py" else hide(text)
