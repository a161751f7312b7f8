"""``planner verify``: read the rendered files back and hold them against the plan and the memory model."""

from collections.abc import Sequence
from pathlib import Path

import click

from planner.artifacts import HOME
from planner.artifacts.verify import verify as verify_files
from planner.catalog import load_catalog
from planner.cli.colour import shown
from planner.cli.exit_codes import EXIT_FILES_DIFFER, EXIT_PROVEN
from planner.cli.json_text import json_option, say_json
from planner.cli.lock import PLAN_FILE, changed
from planner.cli.many_files import ManyFiles, many_files
from planner.cli.shared import catalog_option
from planner.cli.stdin import InputFile
from planner.explain.words import listed
from planner.fleet import load_fleet
from planner.plain_data import as_dict
from planner.plan import plan_from_yaml

_EPILOG = """\b
Exit code: 0 every file starts exactly the plan; 5 one does not, or with --live a
server does not answer or is not as planned, or with --cluster a pod is not, and the output says where;
1 a file cannot be read.
"""


@click.command(cls=ManyFiles, epilog=_EPILOG)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@click.option(
    "--fleet",
    "fleet_file",
    type=InputFile(),
    metavar="FILE",
    help="Fleet the plan was made for; by default fleet.yaml in the folder.",
)
@click.option("--live", is_flag=True, help="Ask the running servers instead of reading the files.")
@many_files("--cluster", "Hold the nodes and pods of a cluster, as kubectl saved them, against the plan.")
@click.option("--prometheus", metavar="URL", help="With --live: ask a Prometheus that watches the servers.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1, 60), default=5.0, metavar="S", show_default=True)
@json_option
@catalog_option
def verify(
    folder: Path,
    fleet_file: Path | None,
    live: bool,
    cluster: tuple[Path, ...],
    prometheus: str | None,
    timeout_s: float,
    as_json: bool,
    catalog_folders: tuple[Path, ...],
) -> None:
    """Check that the rendered files start the plan, and that it fits.

    FOLDER holds plan.yaml and artifacts/. The command
    lines are parsed from the files themselves, compared with the plan, and sized again.

    With --live the running servers are asked, each page once: their version, models, context, KV
    cache, preemptions and, on this machine, their options and the memory they hold. The key is taken
    from VLLM_API_KEY, addresses of other machines from PLANNER_NODE_*, as in the rendered files.

    With --cluster nothing is asked: files that kubectl saved say which pods of the plan are there, where,
    with which image and options, and whether they are ready.
    """
    if cluster:
        if live or prometheus:
            raise click.UsageError("--cluster reads files, and --live and --prometheus ask: give one of them")
        from planner.cli.verify_cluster import verify_cluster

        raise SystemExit(verify_cluster(folder, cluster, as_json))
    if live:
        from planner.cli.verify_live import verify_live

        raise SystemExit(verify_live(folder, prometheus, timeout_s, as_json))
    if prometheus:
        raise click.UsageError("--prometheus goes with --live")
    catalog = load_catalog(overlays=catalog_folders)
    fleet = load_fleet(fleet_file or folder / "fleet.yaml", catalog)
    plan = plan_from_yaml(folder / PLAN_FILE)
    since = changed(plan, fleet, catalog)
    targets, differences = verify_files(plan, fleet, catalog, folder / HOME)
    if as_json:
        wrong = [as_dict(difference) for difference in differences]
        facts = {"as_planned": not wrong, "targets": targets, "differences": wrong}
        say_json({"changed_since_plan": since, **facts})
    else:
        click.echo(shown(_since(since)))
    for target in targets if not as_json else ():
        mine = [difference for difference in differences if difference.target == target]
        for difference in mine:
            click.echo(shown(str(difference)))
        if not mine:
            click.echo(shown(f"{target}: starts the plan"))
    raise SystemExit(EXIT_FILES_DIFFER if differences else EXIT_PROVEN)


def _since(names: Sequence[str]) -> str:
    """Say whether what the plan was made from is still what it was."""
    if not names:
        return "fleet: not changed since the plan"
    has = "has" if len(names) == 1 else "have"
    return f"{listed(names)}: {has} changed since the plan; `planner solve` plans again"
