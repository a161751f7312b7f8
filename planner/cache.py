"""Cache: what was worked out once, kept as JSON between runs, under the digest of all that it follows from.

Files are in ``made`` of the user's cache folder (``planner.resources.user_cache``). A file that is missing, cut,
changed, somebody else's or of another digest is passed over and written anew, and where the folder cannot be written
nothing is kept. ``PLANNER_NO_CACHE`` (with any value) turns it off.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from planner.resources import user_cache

_FORMAT = "2"


def kept(source: Path, content: bytes, make: Callable[[], Any]) -> Any:  # noqa: ANN401 - plain JSON data
    """Return plain data that ``make`` makes of a file with this content, made now or in an earlier run.

    Data that JSON has no equal of, such as dates or keys that are numbers, is made anew each time. Every file has one
    place, whatever its content.
    """
    name = f"{source.stem}-{hashlib.sha256(os.fsencode(source)).hexdigest()[:16]}"
    digest = hashlib.sha256(content).hexdigest()
    found = recall(name, digest)
    if found is None:
        found = make()
        keep(name, digest, found)
    return found


def recall(name: str, digest: str) -> Any:  # noqa: ANN401 - plain JSON data
    """Return what was kept under a name for this digest; None where nothing was, or it is not as it was written."""
    path = _file(name)
    return _read(path, f"{_FORMAT} {digest}") if path else None


def keep(name: str, digest: str, data: Any) -> None:  # noqa: ANN401 - plain JSON data
    """Keep data under a name, in place of what was there, if it can be."""
    if path := _file(name):
        _write(path, f"{_FORMAT} {digest}", data)


def _file(name: str) -> Path | None:
    """Return the file of a name; None where nothing is to be kept."""
    if os.environ.get("PLANNER_NO_CACHE"):
        return None
    try:
        return user_cache() / "made" / f"{name}.json"
    except RuntimeError:  # the user has no home folder
        return None


def _read(path: Path, key: str) -> Any:  # noqa: ANN401 - plain JSON data
    """Return what a file holds for a key; None where it holds nothing for it, or is not as it was written."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            head, _, body = file.read().partition(b"\n")
    except OSError:
        return None
    return msgspec.json.decode(body) if head.decode("latin-1") == _head(key, body) else None


def _write(path: Path, key: str, data: Any) -> None:  # noqa: ANN401 - plain JSON data
    """Keep data whole or not at all."""
    try:
        body = msgspec.json.encode(data)
    except (TypeError, ValueError):  # no JSON is made of it
        return
    if msgspec.json.decode(body) != data:
        return
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part.write_bytes(_head(key, body).encode() + b"\n" + body)
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()


def _head(key: str, body: bytes) -> str:
    return f"{key} {hashlib.sha256(body).hexdigest()}"
