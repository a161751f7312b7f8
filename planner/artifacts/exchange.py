"""Exchange: two names in a folder take each other's place at one moment, where the operating system can do that.

It is what puts a folder in the place of a link: ``rename`` does not. Linux has ``renameat2`` for it since 3.15, the
usual C libraries too (renameat2(2)); file systems may refuse it.
"""

import ctypes
import os
from pathlib import Path

_HERE = -100
"""``AT_FDCWD``: paths are relative to the current folder, as everywhere."""
_EXCHANGE = 2
"""``RENAME_EXCHANGE``."""


def exchange(one: Path, other: Path) -> None:
    """Let what is at two paths, both of which are there, change places.

    Raises:
        OSError: that cannot be done here.
    """
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        raise OSError("no renameat2")
    if function(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one))


def exchanges(folder: Path) -> bool:
    """Whether what is in a folder can be exchanged: it is tried with a new folder and a link, which do not stay."""
    one, other = folder / "one", folder / "other"
    one.mkdir()
    other.symlink_to(one)
    try:
        exchange(one, other)
    except OSError:
        return False
    finally:
        for path in (one, other):
            path.unlink() if path.is_symlink() else path.rmdir()
    return True
