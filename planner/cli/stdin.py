"""Standard input in the place of a file: ``-`` wherever one is read; what is said of it names ``<stdin>``."""

import functools
import io
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_GIVEN = "standard input"


class StandardInput(type(Path())):  # type: ignore[misc]  # the class of paths of this system
    """A path of what standard input holds, which is read once, when somebody first asks for it.

    What reads files by their paths need not know. It is in no folder of its own: ``parent`` is the working directory.
    ``name`` is what a file of its kind is usually called.
    """

    def __str__(self) -> str:
        return "<stdin>"

    @property
    def parent(self) -> Path:
        """The working directory, where relative paths in it start."""
        return Path()

    def exists(self, **_: Any) -> bool:  # noqa: ANN401 - as the base has it
        """There always is one."""
        return True

    def is_file(self, **_: Any) -> bool:  # noqa: ANN401 - as the base has it
        """It can be read as a file can."""
        return True

    def is_dir(self, **_: Any) -> bool:  # noqa: ANN401 - as the base has it
        """It is no folder."""
        return False

    def stat(self, **_: Any) -> os.stat_result:  # noqa: ANN401 - as the base has it
        """Return its size, and that it is a file."""
        return os.stat_result((stat.S_IFREG | stat.S_IRUSR, 0, 0, 1, 0, 0, len(_content()), 0, 0, 0))

    def open(self, mode: str = "r", buffering: int = -1, *args: Any, **how: Any) -> Any:  # noqa: ANN401 - as the base
        """Open it anew from its beginning."""
        raw = io.BytesIO(_content())
        return raw if "b" in mode else io.TextIOWrapper(raw, *args, **how)


@functools.cache
def _content() -> bytes:
    return sys.stdin.buffer.read()


class InputFile(click.Path):
    """The path of a file that is read, or ``-``; ``named`` tells what a file with such a text is usually called."""

    def __init__(self, *, exists: bool = False, named: Callable[[str], str] = lambda _: "stdin.yaml") -> None:
        super().__init__(exists=exists, dir_okay=not exists, path_type=Path)
        self._named = named

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Return the path.

        Raises:
            click.BadParameter: standard input was given for another file already, or there is no such file.
        """
        if str(value) != "-":
            return super().convert(value, param, ctx)
        if ctx and _GIVEN in ctx.meta:
            self.fail("standard input can be one file alone", param, ctx)
        if ctx:
            ctx.meta[_GIVEN] = True
        _content.cache_clear()  # of an earlier command line in this process
        return StandardInput(self._named(_content().decode("utf-8", "replace")))


def folder_of(file: Path) -> Path | None:
    """Return the folder in which a file's plan is kept; None for standard input, which is in none."""
    return None if isinstance(file, StandardInput) else file.parent
