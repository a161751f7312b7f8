"""What all commands share: the --catalog option, and how they talk on stderr."""

from pathlib import Path

import click

catalog_option = click.option(
    "--catalog",
    "catalog_folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Catalog folder whose entries add to the shipped ones or replace them; may be repeated.",
)
"""``--catalog DIR``, as often as needed: overlays of ``planner.catalog.load_catalog``."""

_VERB_WIDTH = len("overwrite")


def verb(word: str, path: str) -> None:
    """Say on stderr what happened to a file: ``create``, ``identical``, ``conflict``, …, right-aligned."""
    click.echo(f"{word:>{_VERB_WIDTH}} {path}", err=True)


def hint(text: str) -> None:
    """Say on stderr what the reader can do next."""
    click.echo(f"  hint: {text}", err=True)
