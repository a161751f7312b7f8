"""``planner verify``: read the rendered files back and hold them against the plan and the memory model."""

from pathlib import Path

import click

from planner.cli.json_text import json_option
from planner.cli.many_files import ManyFiles, many_files
from planner.cli.shared import catalog_option
from planner.cli.stdin import InputFile

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
    from planner.cli.verify_files import verify_files  # not to show or complete options

    raise SystemExit(verify_files(folder, fleet_file or folder / "fleet.yaml", catalog_folders, as_json=as_json))
