"""The terminal: how wide it is, whether it shows colours, and how much a command says beside its answer.

Where output goes into a file it is the same everywhere: without colour, and as wide as it was laid out, unless COLUMNS,
NO_COLOR and their like are set, or ``--color`` is given.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import click

_QUIET = "planner.quiet"
_VERBOSE = "planner.verbose"
CLEAR = "\r\x1b[K"
"""What takes a line away that was not ended."""

_NARROWEST = 20
"""Columns below which nothing is laid out: a terminal that says less does not know how wide it is."""

_Command = TypeVar("_Command", bound=Callable[..., object] | click.Command)


def columns() -> int | None:
    """Return how many columns there are for stdout; None where nothing limits them."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told) > 0:
        return max(int(told), _NARROWEST)
    if sys.stdout.isatty():
        import shutil  # with what it packs and unpacks files with, which takes longer than all of this

        return max(shutil.get_terminal_size().columns, _NARROWEST)
    return None


def coloured() -> bool:
    """Whether stdout or stderr may show colours."""
    context = click.get_current_context(silent=True)
    if context is not None and context.color is not None:
        return context.color
    return sys.stdout.isatty() or sys.stderr.isatty()


def quiet() -> bool:
    """Whether only the answer and errors are wanted."""
    return _said(_QUIET)


def verbose() -> bool:
    """Whether it is wanted to know what is done."""
    return _said(_VERBOSE)


def _said(name: str) -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(name))


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show on a terminal what is being done, as long as it is."""
    there = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not quiet()
    if there:
        sys.stderr.write(f"{text} …")
        sys.stderr.flush()
    try:
        yield
    finally:
        if there:
            sys.stderr.write(CLEAR)
            sys.stderr.flush()


def talk_options(command: _Command) -> _Command:
    """Give a command ``-q``, ``-v`` and ``--color``."""
    options = (_quiet, _verbose, _color)
    for option in options if isinstance(command, click.Command) else reversed(options):
        command = option(command)
    return command


def colours(choice: str | None) -> bool | None:
    """Return whether colours are shown; None leaves it to each stream whether it is a terminal.

    ``--color`` goes before NO_COLOR (no-color.org), that before FORCE_COLOR and CLICOLOR_FORCE, those before CLICOLOR
    (bixense.com/clicolors) and a terminal that says it is dumb.
    """
    if choice in ("always", "never"):
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if any(os.environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    if os.environ.get("CLICOLOR") == "0" or os.environ.get("TERM") == "dumb":
        return False
    return None


def _note(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def note(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            context.meta[name] = True

    return note


def _choose(context: click.Context, _: click.Parameter, value: str | None) -> None:
    """Set the colour of a command and of what its group says; a command that is not asked keeps what its group has."""
    if value is not None or context.parent is None:
        context.color = context.find_root().color = colours(value)


_quiet = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    expose_value=False,
    callback=_note(_QUIET),
    help="Only the answer and errors.",
)
_verbose = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_note(_VERBOSE),
    help="Say what is done, and when.",
)
_color = click.option(
    "--color",
    type=click.Choice(("auto", "always", "never")),
    metavar="WHEN",
    expose_value=False,
    callback=_choose,
    help="Colours: auto, always or never.",
)
