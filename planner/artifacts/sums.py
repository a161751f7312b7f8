"""``artifacts/SHA256SUMS``: what was written last, so that a hand edit can be told from an older plan.

``sha256sum --check`` reads it too. It is a file like any other in a folder that many may write to, so it is taken at
its word for one thing only: that a file which has this digest was not edited.
"""

import hashlib
import posixpath
from collections.abc import Mapping

from planner.artifacts.switch import File

HOME = "artifacts"
SUMS = f"{HOME}/SHA256SUMS"
"""Its paths are relative to its own folder, as ``sha256sum --check`` wants them."""


def digest(content: bytes) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sums_file(files: Mapping[str, File]) -> File:
    """Return the file that names these files, by path beside the folder it is in."""
    lines = (f"{digest(file.content)}  {posixpath.relpath(path, HOME)}\n" for path, file in sorted(files.items()))
    return File("".join(lines))


def parse_sums(content: bytes) -> dict[str, str]:
    """Return the digests by path beside the folder; lines that are not ours, or climb out of it, are ignored."""
    sums = {}
    for line in content.decode(errors="replace").split("\n"):
        found, _, listed = line.partition("  ")
        path = posixpath.normpath(posixpath.join(HOME, listed))
        if len(found) == 64 and listed and "\0" not in path and not path.startswith(("/", "..")):
            sums[path] = found
    return sums
