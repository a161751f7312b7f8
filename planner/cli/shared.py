"""What all commands share: the --catalog, --offline and --time-limit options, and how they talk on stderr."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from planner.cli.colour import shown, verb_painted
from planner.cli.terminal import quiet, verbose
from planner.search.budget import BUDGET

_catalog = click.option(
    "--catalog",
    "catalog_folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Catalog folder whose entries add to the shipped ones or replace them; may be repeated.",
)


def _stay_offline(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Tell the hub's library, which reads its settings when it is loaded."""
    if value:
        os.environ["HF_HUB_OFFLINE"] = "1"


_offline = click.option(
    "--offline",
    is_flag=True,
    expose_value=False,
    callback=_stay_offline,
    help="Ask no hub about models that the catalog does not list.",
)
_Command = TypeVar("_Command", bound=Callable[..., object])

listeners: list[Callable[[str], None]] = []
"""Who hears how far the work is, besides a terminal; ``planner.cli.progress`` tells them."""


def catalog_option(command: _Command) -> _Command:
    """Give a command ``--catalog DIR``, overlays of ``planner.catalog.load_catalog``, and ``--offline``."""
    return _catalog(_offline(command))


time_limit_option = click.option(
    "--time-limit",
    type=click.IntRange(min=1),
    default=BUDGET,
    show_default=True,
    metavar="SECONDS",
    help="Deterministic seconds of all searching for a plan: they count steps, not the clock, and repeat anywhere.",
)

_VERB_WIDTH = len("overwrite")
_LEFT_ALONE = "conflict"
_BEGAN = time.monotonic()


def verb(word: str, path: str) -> None:
    """Say on stderr what happened to a file: ``create``, ``identical``, ``conflict``, …, right-aligned.

    Where little is to be said only what was left alone is.
    """
    if word == _LEFT_ALONE or not quiet():
        click.echo(verb_painted(word, f"{word:>{_VERB_WIDTH}} {path}"), err=True)


def hint(text: str) -> None:
    """Say on stderr what the reader can do next."""
    if not quiet():
        click.echo(shown(f"  hint: {text}"), err=True)


def note(text: str) -> None:
    """Say on stderr what the reader may want to know of the answer."""
    if not quiet():
        click.echo(shown(f"note: {text}"), err=True)


def say(text: str) -> None:
    """Say on stderr what came of a command."""
    if not quiet():
        click.echo(shown(text), err=True)


def done(text: str) -> None:
    """Say on stderr what was done, where that is wanted, with the seconds since the command began."""
    if verbose():
        click.echo(f"{time.monotonic() - _BEGAN:6.1f} s  {text}", err=True)
