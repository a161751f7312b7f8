"""The options of commands that write a plan and its files, known before anything that makes them is loaded."""

from pathlib import Path

import click

from planner.cli.late import Late, extra_targets

templates_option = click.option(
    "--templates",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of templates that take the place of the shipped ones of the same name.",
)
targets_option = click.option(
    "--target",
    "targets",
    type=Late(extra_targets),
    multiple=True,
    help="Render this too, instead of what was rendered too before; can be given several times.",
)
check_option = click.option(
    "--check", is_flag=True, help="Write nothing; print a diff of files that are stale or edited by hand."
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Write nothing; say what would change.")
force_option = click.option("--force", is_flag=True, help="Overwrite files that were edited by hand.")
fresh_option = click.option(
    "--fresh", is_flag=True, help="Plan as if there were no plan.yaml: follow none of its choices, places and targets."
)
