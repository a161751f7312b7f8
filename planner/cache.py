"""Cache: what was made from the bytes of a file, kept as JSON between runs, under the digest of those bytes.

Files are in ``parsed`` of the user's cache folder (``planner.resources.user_cache``), one for each source. A file that
is missing, cut, changed, somebody else's or of another source is passed over and made again, and where the folder
cannot be written nothing is kept. ``PLANNER_NO_CACHE`` (with any value) turns it off.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from planner.resources import user_cache

_FORMAT = "1"


def kept(source: Path, content: bytes, make: Callable[[], Any]) -> Any:  # noqa: ANN401 - plain JSON data
    """Return plain data that ``make`` makes of a file with this content, made now or in an earlier run.

    Data that JSON has no equal of, such as dates or keys that are numbers, is made anew each time.
    """
    path = _file(source)
    if path is None:
        return make()
    key = f"{_FORMAT} {hashlib.sha256(content).hexdigest()}"
    found = _read(path, key)
    if found is None:
        found = make()
        _write(path, key, found)
    return found


def _file(source: Path) -> Path | None:
    """Return the file that keeps what is made of another one; None where nothing is to be kept."""
    if os.environ.get("PLANNER_NO_CACHE"):
        return None
    name = hashlib.sha256(os.fsencode(source)).hexdigest()[:16]
    try:
        return user_cache() / "parsed" / f"{source.stem}-{name}.json"
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
    return json.loads(body) if head.decode("latin-1") == _head(key, body) else None


def _write(path: Path, key: str, data: Any) -> None:  # noqa: ANN401 - plain JSON data
    """Keep data whole or not at all."""
    try:
        body = json.dumps(data, separators=(",", ":")).encode()
    except TypeError:
        return
    if json.loads(body) != data:
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
