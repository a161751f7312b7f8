"""``planner check``: read the files that start vLLM today, and say which servers start."""

import json
from pathlib import Path
from typing import Any

import click

from planner.adopt.files import Found, read_files
from planner.adopt.kinds import usual_name
from planner.adopt.server import Server
from planner.adopt.start import Verdict, gib, verdicts, whole
from planner.adopt.to_fleet import to_fleet
from planner.catalog import Catalog, load_catalog
from planner.cli import names
from planner.cli.colour import shown
from planner.cli.exit_codes import EXIT_FILES_DIFFER, EXIT_NO_PLAN, EXIT_PROVEN
from planner.cli.json_text import json_option, say_json
from planner.cli.shared import catalog_option, hint, verb
from planner.cli.stdin import InputFile
from planner.cli.text import escaped, wrapped
from planner.errors import output_errors
from planner.facts.gpu import GPU
from planner.logs.secrets import without_secrets
from planner.units import format_gib

_EPILOG = """\b
Exit code: 0 no server is known to fail; 3 one does not start, and stdout says why;
5 the file for --to-fleet is there already; 1 a file cannot be read.
"""


@click.command(epilog=_EPILOG)
@click.argument("files", nargs=-1, required=True, type=InputFile(exists=True, named=usual_name))
@click.option("--gpu", "gpu_name", type=names.GPU, metavar="NAME", help="The card, where the files do not name it.")
@click.option("--engine-version", metavar="V", help="vLLM version, where the files do not name it.")
@click.option(
    "--to-fleet",
    "fleet_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the fleet.yaml that asks for the same servers.",
)
@catalog_option
@json_option
def check(
    files: tuple[Path, ...],
    gpu_name: str | None,
    engine_version: str | None,
    fleet_path: Path | None,
    catalog_folders: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Read files that start vLLM, and say which servers start.

    FILES are shell scripts, Dockerfiles, Compose files, systemd units, Quadlets, Kubernetes and
    KServe manifests, the production stack's Helm values, llama-swap or SkyPilot configurations, or
    files for vllm serve --config. Nothing in them is run. - reads standard input.
    """
    catalog = load_catalog(overlays=catalog_folders)
    gpu = catalog.gpu(gpu_name) if gpu_name else None
    found = read_files(files, engine_version)
    each = verdicts(found.servers, gpu, catalog)
    if as_json:
        say_json(_facts(found, each))
    else:
        click.echo(shown(wrapped(escaped(_told(found, each)))))
    if fleet_path is not None:
        _write_fleet(found, gpu, catalog, fleet_path)
    raise SystemExit(EXIT_NO_PLAN if whole(each) is False else EXIT_PROVEN)


def _write_fleet(found: Found, gpu: GPU | None, catalog: Catalog, path: Path) -> None:
    """Write the fleet of the servers found; an existing file is left alone."""
    if gpu is None:
        raise click.UsageError("--to-fleet needs --gpu: a fleet says which card it is for.")
    if path.exists():
        verb("conflict", str(path))
        raise SystemExit(EXIT_FILES_DIFFER)
    text, left = to_fleet(found.servers, gpu, catalog, path.resolve().parent.name)
    for sentence in left:
        hint(escaped(sentence))
    if not text:
        return
    with output_errors(path):
        path.write_text(text, encoding="utf-8")
    verb("create", str(path))


def _facts(found: Found, each: list[Verdict]) -> dict[str, Any]:
    return {
        "starts": whole(each),
        "servers": [_server(server, verdict) for server, verdict in zip(found.servers, each, strict=True)],
        "other_engines": [{"name": other.name, "engine": other.engine} for other in found.others],
    }


def _server(server: Server, verdict: Verdict) -> dict[str, Any]:
    return {
        "name": server.name,
        "model": server.model,
        "flags": without_secrets(server.flags),
        "unknown_flags": list(server.unknown_flags),
        "unexpanded": list(server.unexpanded),
        "starts": verdict.starts,
        "reason": verdict.reason,
        "takes_gib": gib(verdict.takes_bytes),
        "change": {verdict.change[0]: verdict.change[1]} if verdict.change else None,
        "engine_version": server.engine_version,
        "gpus": server.gpus,
        "gpu_ids": list(server.gpu_ids),
        "nodes": server.nodes,
        "replicas": server.replicas,
        "environment": without_secrets(server.environment),
        "file": server.file,
        "line": server.line,
    }


def _told(found: Found, each: list[Verdict]) -> str:
    parts = [_paragraph(server, verdict) for server, verdict in zip(found.servers, each, strict=True)]
    parts += [f"{other.name}: {other.engine}, which is not vLLM, is left out" for other in found.others]
    return "\n\n".join(parts) if parts else "no start of a vLLM server was found in these files"


def _paragraph(server: Server, verdict: Verdict) -> str:
    said = {True: "starts", False: "does not start", None: "cannot be told"}[verdict.starts]
    reason = f": {verdict.reason}" if verdict.reason else ""
    lines = [f"{server.name} ({server.model}, vllm {server.engine_version or 'of unknown version'}): {said}{reason}"]
    if verdict.takes_bytes is not None:
        lines.append(f"  takes {format_gib(verdict.takes_bytes)} of each GPU")
    lines += [f"  --{name} {_value(value)}" for name, value in without_secrets(server.flags).items()]
    if server.unknown_flags and verdict.starts is not False:
        lines.append(f"  not known: {', '.join(f'--{name}' for name in server.unknown_flags)}")
    if server.unexpanded:
        lines.append(f"  only known where it runs: {', '.join(server.unexpanded)}")
    if verdict.change:
        name, value = verdict.change
        way = f"started {value}" if name == "start" else f"with --{name} {_value(value)}"
        lines.append(f"  hint: {way} it starts")
    return "\n".join(lines)


def _value(value: Any) -> str:  # noqa: ANN401 - any value of a flag
    if isinstance(value, list):
        return " ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | bool) else str(value)
