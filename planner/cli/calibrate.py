"""``planner calibrate``: turn logs of start-ups into facts of the user's own."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from planner.adopt.calibrate import Start, contradictions, start_of, to_share
from planner.catalog import Catalog, load_catalog
from planner.catalog.measured import Measured
from planner.catalog.names import plain
from planner.cli.shared import catalog_option, hint, verb
from planner.cli.text import wrapped
from planner.errors import InputError, OutputError, Problem
from planner.facts.gpu import GPU
from planner.logs.diagnosis import diagnose
from planner.logs.lines import read_lines
from planner.resources import user_catalog
from planner.units import GIB, format_gib
from planner.yaml_text import yaml_text

_EPILOG = """\b
Exit code: 0 the logs were read, whatever they teach; 1 one cannot be read, or the
file of facts cannot be written.
"""


@click.command(epilog=_EPILOG)
@click.argument("logs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--gpu", "gpu_name", metavar="NAME", required=True, help="The card: logs do not name it.")
@click.option("--write", is_flag=True, help="Keep what the logs teach; every later command heeds it.")
@click.option("--share", is_flag=True, help="Print one JSON row per start, without names, paths or hosts.")
@catalog_option
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
def calibrate(
    logs: tuple[Path, ...],
    gpu_name: str,
    write: bool,
    share: bool,
    catalog_folders: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Learn from logs of start-ups on your own machine.

    Says what each left for the KV cache, beside what was expected. LOGS are what vLLM printed on
    the way up, as for planner diagnose. With --write the facts go to the room measured of the last
    --catalog folder, or of your own catalog (~/.config/planner/catalog).
    """
    catalog = load_catalog(overlays=catalog_folders)
    gpu = catalog.gpu(gpu_name)
    starts = [start for log in logs for start in _read(log, gpu, catalog)]
    learnt = [start.measured for start in starts if start.measured and start.seen]
    if share:
        for row in learnt:
            click.echo(json.dumps(to_share(row, catalog)))
    elif as_json:
        click.echo(json.dumps(_facts(starts), indent=2, ensure_ascii=False))
    else:
        click.echo(wrapped(_told(starts)))
    if write and learnt:
        _write(learnt, gpu, (catalog_folders or (user_catalog(),))[-1])
    elif learnt and not share:
        hint("--write keeps this, and every later plan for this GPU heeds it")


def _read(log: Path, gpu: GPU, catalog: Catalog) -> list[Start]:
    with log.open("rb") as stream:
        digest = f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
        stream.seek(0)
        found = diagnose(read_lines(stream))
    if not found:
        raise InputError((Problem(str(log), 0, 0, "", "is empty"),))
    return [start_of(one, str(log), digest, gpu, catalog) for one in found]


def _write(learnt: Sequence[Measured], gpu: GPU, folder: Path) -> None:
    """Add start-ups to the file of their GPU; a log that is there already is not added again."""
    path = folder / "measured" / f"{plain(gpu.name)}.yaml"
    before = [start for start in load_catalog(folder).measured if plain(start.gpu) == plain(gpu.name)]
    known = {(start.source, start.model) for start in before}
    added: list[Measured] = []
    for start in learnt:
        if (start.source, start.model) not in known and start not in added:
            added.append(start)
    if not added:
        verb("identical", str(path))
        return
    starts = [_entry(start) for start in (*before, *added)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml_text({"starts": starts}, flow=None, width=110), encoding="utf-8")
    except OSError as error:
        raise OutputError(str(path), (error.strerror or str(error)).lower()) from error
    verb("overwrite" if before else "create", str(path))


def _entry(start: Measured) -> dict[str, Any]:
    facts = {key: value for key, value in dataclasses.asdict(start).items() if value not in (None, "", {})}
    return {**facts, **({"flags": dict(start.flags)} if start.flags else {})}


def _facts(starts: Sequence[Start]) -> dict[str, Any]:
    return {
        "starts": [_start(start) for start in starts],
        "contradictions": [dataclasses.asdict(one) for one in contradictions(starts)],
    }


def _start(start: Start) -> dict[str, Any]:
    seen, answer = start.seen, start.expected
    return {
        "log": start.log,
        "why_not": start.why_not or None,
        "measured": _entry(start.measured) if start.measured else None,
        "expected_kv_cache_gib": round(answer.kv_cache_bytes / GIB, 3) if answer else None,
        "more_gib": round(seen.more_bytes / GIB, 3) if seen else None,
        "outlier": seen.outlier if seen else None,
    }


def _told(starts: Sequence[Start]) -> str:
    parts = []
    for start in starts:
        if not (start.measured and start.seen and start.expected):
            parts.append(f"{start.log}: teaches nothing: {start.why_not or 'its KV cache cannot be compared'}")
            continue
        answer, seen, logged = start.expected, start.seen, start.measured
        state = f", {logged.compiled}" if logged.compiled else ""
        who = f"{start.log}: {logged.model}, vllm {logged.engine_version}{state}"
        sign = "more" if (seen.more_bytes >= 0) is not seen.weights_alone else "less"
        off = f"{format_gib(abs(seen.more_bytes))} {sign} than expected"
        if seen.weights_alone:
            weights = format_gib(answer.weights_bytes - seen.more_bytes)
            parts.append(f"{who}: its KV cache was given; weights {weights}, {off}")
        else:
            low, high = format_gib(answer.kv_cache_low_bytes), format_gib(answer.kv_cache_high_bytes)
            kv_cache = format_gib(answer.kv_cache_bytes + seen.more_bytes)
            parts.append(f"{who}: KV cache {kv_cache}, {off} ({low} to {high})")
        if seen.outlier:
            parts.append("  an outlier: beyond the range, so it counts for this very server alone")
    for one in contradictions(starts):
        names = ", ".join(dict.fromkeys(one.logs))
        parts.append(
            f"{one.model}: logs differ by {format_gib(one.spread_bytes)}, so the range spans them all: {names}"
        )
    return "\n".join(parts)
