"""Roots: the folders in which a client's files may be, and files read from there without a way out.

A path counts as the file that it leads to: ``..`` and links are followed first, and what they lead to has to be inside.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from planner.errors import PlannerError

MOST_BYTES = 16 << 20
"""No file that says something about a server is larger; a log may be."""


class OutsideRoots(PlannerError):
    """A path that is not inside a root, or not a file of reasonable size there; which of them is not said."""

    def __init__(self, path: str, roots: Sequence[Path], wanted: str) -> None:
        self.path, self.roots, self.wanted = path, [str(root) for root in roots], wanted
        super().__init__(path, wanted)

    def __str__(self) -> str:
        inside = f"inside {' or '.join(self.roots)}" if self.roots else "that may be read: there is no root"
        return (
            f"{self.path}: not {self.wanted} {inside}\n"
            "  hint: give its text instead, or start the server with --root DIR"
        )


def folders(uris: Iterable[str]) -> Iterator[Path]:
    """Yield the folders that a client's roots name; others than files of this machine are left out."""
    for uri in uris:
        parts = urlsplit(uri)
        path = Path(unquote(parts.path))
        if parts.scheme == "file" and parts.netloc in ("", "localhost") and path.is_absolute() and path.is_dir():
            yield path.resolve()


def meet(own: Sequence[Path], clients: Sequence[Path]) -> tuple[Path, ...]:
    """Return what is inside both the roots of the server and those of the client."""
    inner = {one for one in own for other in clients if one.is_relative_to(other)}
    return tuple(sorted(inner | {other for other in clients for one in own if other.is_relative_to(one)}))


def inside(name: str, roots: Sequence[Path]) -> Path:
    """Return the regular file that a path leads to; a relative one begins at a root.

    Raises:
        OutsideRoots: it leads elsewhere, to nothing, or to something larger than MOST_BYTES.
    """
    for root in roots:
        try:
            real = (root / name).resolve(strict=True)
            found = real.stat()
        except (OSError, ValueError, RuntimeError):
            continue
        if (
            any(real.is_relative_to(one) for one in roots)
            and stat.S_ISREG(found.st_mode)
            and found.st_size <= MOST_BYTES
        ):
            return real
    raise OutsideRoots(name, roots, "a file")


def read(name: str, roots: Sequence[Path]) -> bytes:
    """Return the content of a file inside a root; a link put in its place meanwhile is not followed.

    Raises:
        OutsideRoots: as ``inside`` does, or the file cannot be read.
    """
    path = inside(name, roots)
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as stream:
            return stream.read(MOST_BYTES)
    except OSError:
        raise OutsideRoots(name, roots, "a readable file") from None


def without_links(folder: Path, roots: Sequence[Path]) -> None:
    """Do nothing where everything that solve writes or reads in a folder is there itself, and no link.

    Raises:
        OutsideRoots: ``plan.yaml``, ``artifacts`` or something inside is a link.
    """
    for path in (folder / "plan.yaml", folder / "artifacts", *(folder / "artifacts").rglob("*")):
        if path.is_symlink():
            raise OutsideRoots(str(path), roots, "a file of its own, but a link")
