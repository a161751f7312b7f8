"""``planner what-if``: one table of what variations of a fleet would bring."""

from pathlib import Path

import click

from planner.cli import names
from planner.cli.json_text import json_option
from planner.cli.shared import catalog_option, time_limit_option
from planner.cli.stdin import InputFile
from planner.cli.terminal import working

_EPILOG = """\b
Examples:
  planner what-if fleet.yaml --gpu rtx-4090:2 --gpu l40s --gpu h100-sxm-80gb
  planner what-if fleet.yaml --set roles.coder.context.min=32k --set objective=accuracy
  planner what-if fleet.yaml --matrix --gpu l40s:2 --set roles.chat.weight=2
  planner what-if fleet.yaml --lose-node h100-2
  planner what-if fleet.yaml --free-node 1 --free-gpus 4
\b
Exit code: 0 every scenario has a proven answer, and no plan is one; 4 one of them
was not proven within --time-limit; 1 a scenario makes no valid fleet.
"""


@click.command("what-if", epilog=_EPILOG)
@click.argument("fleet_file", type=InputFile(), default="fleet.yaml")
@click.option(
    "--gpu",
    "gpus",
    type=names.GPU_OR_INSTANCE,
    multiple=True,
    metavar="NAME[:COUNT]",
    help="GPUs in place of those of the fleet; repeatable.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Another value for a field; without a value the field goes. Repeatable.",
)
@click.option(
    "--lose-node",
    "lost",
    multiple=True,
    metavar="NODE[,NODE]",
    help="Without a node, or several at once; says what moves from the plan that is there. Repeatable.",
)
@click.option(
    "--free-node",
    "free_nodes",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="COUNT",
    help="Instead: the fewest moves after which so many nodes have no server. Repeatable.",
)
@click.option(
    "--free-gpus",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="COUNT",
    help="Instead: the fewest moves that free so many GPUs side by side, such as an NVLink domain. Repeatable.",
)
@click.option("--matrix", is_flag=True, help="Every combination, instead of one change at a time.")
@catalog_option
@json_option
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Processes; by default one for each core.")
@time_limit_option
def what_if(
    fleet_file: Path,
    gpus: tuple[str, ...],
    settings: tuple[str, ...],
    lost: tuple[str, ...],
    free_nodes: tuple[int, ...],
    free_gpus: tuple[int, ...],
    matrix: bool,
    catalog_folders: tuple[Path, ...],
    as_json: bool,
    jobs: int | None,
    time_limit: int,
) -> None:
    """Solve variations of a fleet side by side and compare them.

    The first row is the fleet as it is written; what the others gain or lose is against it.
    """
    if (free_nodes or free_gpus) and (gpus or settings or lost or matrix):
        raise click.UsageError("--free-node and --free-gpus are about the plan as it is: give no other change")
    with working("loading the solver"):
        from planner.cli.comparing import compared, freed  # not to show or complete options

    if free_nodes or free_gpus:
        raise SystemExit(freed(fleet_file, catalog_folders, free_nodes, free_gpus, time_limit, as_json=as_json))
    changes = (gpus, settings, lost)
    raise SystemExit(compared(fleet_file, changes, catalog_folders, time_limit, jobs, matrix=matrix, as_json=as_json))
