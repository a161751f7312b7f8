"""The command line: the only room that prints or exits."""

import click


@click.group()
def main() -> None:
    """Plan which models your GPUs can serve, and render what starts them."""
