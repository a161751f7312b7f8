"""``planner calibrate``: turn logs of start-ups and results of load tests into facts of the user's own."""

import hashlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from planner.adopt.calibrate import Start, contradictions, start_of, to_share
from planner.adopt.calibrate_speed import Tested, test_of
from planner.adopt.load_output import LoadOutput, load_output
from planner.adopt.load_result import is_load_result
from planner.catalog import Catalog, load_catalog
from planner.catalog.load_tests import LoadTest
from planner.catalog.measured import Measured
from planner.catalog.names import plain
from planner.cli import calibrate_speed, names
from planner.cli.calibrate_speed import entry
from planner.cli.colour import shown
from planner.cli.json_text import json_option, say_json
from planner.cli.shared import catalog_option, hint, verb
from planner.cli.stdin import InputFile
from planner.cli.text import wrapped
from planner.errors import InputError, Problem, output_errors
from planner.facts.gpu import GPU
from planner.live.loaded import loaded
from planner.logs.diagnosis import diagnose
from planner.logs.lines import read_lines
from planner.plain_data import as_dict
from planner.plan import plan_from_yaml
from planner.resources import user_catalog
from planner.units import GIB, format_gib
from planner.yaml_text import yaml_text

T = TypeVar("T", Measured, LoadTest)

_EPILOG = """\b
Exit code: 0 the logs were read, whatever they teach; 1 one cannot be read, or the
file of facts cannot be written.
"""
_LARGEST_OUTPUT = 2**20
"""Characters of a file that are looked through for what load.sh prints: some lines for each server."""
_LARGEST_RESULT = 64 * 2**20
"""Bytes of a larger file are not read as one document; results with every request in them are some MB."""


@click.command(epilog=_EPILOG)
@click.argument("logs", nargs=-1, required=True, type=InputFile(exists=True))
@click.option("--gpu", "gpu_name", type=names.GPU, metavar="NAME", required=True, help="The card: logs do not name it.")
@click.option(
    "--plan",
    "plan_file",
    type=InputFile(exists=True),
    metavar="FILE",
    help="The plan.yaml whose load.sh printed one of the files.",
)
@click.option("--write", is_flag=True, help="Keep what the logs teach; every later command heeds it.")
@click.option("--share", is_flag=True, help="Print one JSON row per start, without names, paths or hosts.")
@catalog_option
@json_option
def calibrate(
    logs: tuple[Path, ...],
    gpu_name: str,
    plan_file: Path | None,
    write: bool,
    share: bool,
    catalog_folders: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Learn from logs of start-ups and load tests on your own machine.

    Says what each left for the KV cache, beside what was expected. LOGS are what vLLM printed on
    the way up, as for planner diagnose. Among them may be results of vllm bench serve (JSON), of a
    server whose log is there, and with --plan what its load.sh printed: they say how fast a server
    is, beside what was expected. With --write the facts go to the room measured of the last
    --catalog folder, or of your own catalog (~/.config/planner/catalog).
    """
    catalog = load_catalog(overlays=catalog_folders)
    gpu = catalog.gpu(gpu_name)
    results = {log: data for log in logs if (data := _result(log)) is not None}
    outputs = {log: found for log in logs if plan_file and log not in results and (found := _output(log))}
    starts = [start for log in logs if log not in results and log not in outputs for start in _read(log, gpu, catalog)]
    known = [start.measured for start in starts if start.measured]
    tests = [test_of(data, str(log), _digest(log), gpu, known, catalog) for log, data in results.items()]
    if plan_file and outputs:
        plan = plan_from_yaml(plan_file)
        for log, servers in outputs.items():
            tests += loaded(servers, str(log), _digest(log), plan, gpu, catalog)
    learnt = [start.measured for start in starts if start.measured and start.seen]
    paced = [one.test for one in tests if one.test and not one.why_not]
    if share:
        for row in learnt:
            click.echo(json.dumps(to_share(row, catalog)))
        for test in paced:
            click.echo(json.dumps(calibrate_speed.to_share(test, catalog)))
    elif as_json:
        say_json(_facts(starts, tests))
    else:
        click.echo(shown(wrapped("\n".join([*_told(starts), *calibrate_speed.told(tests)]))))
    if write and (learnt or paced):
        _write(learnt, paced, gpu, (catalog_folders or (user_catalog(),))[-1])
    elif (learnt or paced) and not share:
        hint("--write keeps this, and every later plan for this GPU heeds it")


def _result(path: Path) -> dict[str, Any] | None:
    """Return the result of a load test; None where a file is a log."""
    with path.open("rb") as stream:
        if path.stat().st_size > _LARGEST_RESULT or not stream.read(64).lstrip().startswith(b"{"):
            return None
        stream.seek(0)
        try:
            data = json.load(stream)
        except (ValueError, RecursionError):
            return None
    return data if is_load_result(data) else None


def _output(path: Path) -> tuple[LoadOutput, ...]:
    """Return the servers that an output of load.sh tells of; none where a file is a log."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        text = stream.read(_LARGEST_OUTPUT)
    return load_output(text.splitlines())


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def _read(log: Path, gpu: GPU, catalog: Catalog) -> list[Start]:
    digest = _digest(log)
    with log.open("rb") as stream:
        found = diagnose(read_lines(stream))
    if not found:
        raise InputError((Problem(str(log), 0, 0, "", "is empty"),))
    return [start_of(one, str(log), digest, gpu, catalog) for one in found]


def _write(learnt: Sequence[Measured], paced: Sequence[LoadTest], gpu: GPU, folder: Path) -> None:
    """Add what was learnt to the file of its GPU; a log or result that is there already is not added again."""
    path = folder / "measured" / f"{plain(gpu.name)}.yaml"
    kept = load_catalog(folder)
    before = [start for start in kept.measured if plain(start.gpu) == plain(gpu.name)]
    tests_before = [test for test in kept.load_tests if plain(test.gpu) == plain(gpu.name)]
    known = {(start.source, start.model) for start in before} | {(test.source, test.model) for test in tests_before}
    added, tests = _new(learnt, known), _new(paced, known)
    if not (added or tests):
        verb("identical", str(path))
        return
    facts: dict[str, Any] = {"starts": [entry(start) for start in (*before, *added)]}
    if tests_before or tests:
        facts["load_tests"] = [entry(test) for test in (*tests_before, *tests)]
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml_text(facts, flow=None, width=110), encoding="utf-8")
    verb("overwrite" if before or tests_before else "create", str(path))


def _new(learnt: Sequence[T], known: Collection[tuple[str, str]]) -> list[T]:
    """Return what was learnt from no log or result that is known, each once."""
    found: list[T] = []
    for one in learnt:
        if (one.source, one.model) not in known and one not in found:
            found.append(one)
    return found


def _facts(starts: Sequence[Start], tests: Sequence[Tested]) -> dict[str, Any]:
    return {
        "starts": [_start(start) for start in starts],
        "load_tests": [calibrate_speed.to_json(test) for test in tests],
        "contradictions": [as_dict(one) for one in contradictions(starts)],
    }


def _start(start: Start) -> dict[str, Any]:
    seen, answer = start.seen, start.expected
    return {
        "log": start.log,
        "why_not": start.why_not or None,
        "measured": entry(start.measured) if start.measured else None,
        "expected_kv_cache_gib": round(answer.kv_cache_bytes / GIB, 3) if answer else None,
        "more_gib": round(seen.more_bytes / GIB, 3) if seen else None,
        "outlier": seen.outlier if seen else None,
    }


def _told(starts: Sequence[Start]) -> list[str]:
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
    return parts
