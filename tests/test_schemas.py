"""The JSON Schemas of what commands print with ``--json``: every output fits its schema, which has no other key."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from commands import invoke
from documents import FILES as SCHEMAS
from documents import FOLDER, MADE, made, schema, valid
from test_calibrate_speed import result, start_log
from test_live import EXAMPLE, engine, serving

from planner.cli import main
from planner.fleet import json_schema
from planner.logs.causes import CAUSES
from planner.plan import plan_from_yaml, plan_json

ROOT = Path(__file__).resolve().parent.parent
CASES = Path(__file__).parent / "cases"
FILES = sorted(path for path in (CASES / "check").glob("*/*") if path.name != "expected.json")
LOGS = sorted((CASES / "logs").glob("*.log"))
PLANS = sorted((ROOT / "examples").glob("*/plan.yaml"))

DOCUMENTS = {
    "calibrate": ("calibrate",),
    "catalog add": ("files",),
    "catalog check": ("catalog-check",),
    "catalog list": ("catalog",),
    "catalog search": ("catalog",),
    "catalog show": ("catalog-show",),
    "check": ("check",),
    "diagnose": ("diagnose",),
    "diff": ("diff",),
    "estimate": ("estimate",),
    "explain": ("explain", "no-plan"),
    "init": ("files", "no-plan"),
    "observe": ("observe",),
    "pareto": ("pareto", "no-plan"),
    "render": ("files",),
    "report": ("files",),
    "schema": ("fleet",),  # it prints that schema itself
    "solve": ("plan", "no-plan", "files"),
    "verify": ("verify", "verify-live"),
    "what-if": ("what-if",),
}
"""Command -> the schemas of what it prints; an error of any is ``error``."""

OWN_PROTOCOL = {"mcp"}
"""Commands whose stdout is no document: it belongs to a protocol."""


def fits(name: str, *arguments: str | Path) -> dict[str, Any]:
    """Run a command, hold what it prints against a schema, and return it."""
    return valid(name, invoke(*arguments, "--json").stdout)


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every command that can be typed, with its name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def test_every_command_has_json_and_a_schema() -> None:
    found = {name: command for name, command in commands(main) if name not in OWN_PROTOCOL}
    without = [
        name for name, command in found.items() if not any("--json" in parameter.opts for parameter in command.params)
    ]

    assert without == []
    assert set(found) == set(DOCUMENTS)
    named = {name for names in DOCUMENTS.values() for name in names} | {"error"}
    assert {path.name for path in SCHEMAS} == {f"{name}.schema.json" for name in named}


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name.partition(".")[0])
def test_a_schema_is_one_and_states_its_version(path: Path) -> None:
    found = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(found)

    if path.name == "fleet.schema.json":
        return
    assert all(one["properties"]["schema"]["const"] == 1 for one in found.get("anyOf", [found]))
    assert all("schema" in one["required"] for one in found.get("anyOf", [found]))


@pytest.mark.parametrize("name", MADE)
def test_schemas_of_plans_follow_from_their_types(name: str, update_golden: bool) -> None:
    if update_golden:
        (FOLDER / f"{name}.schema.json").write_text(json.dumps(made(name), indent=2) + "\n", encoding="utf-8")

    assert schema(name) == made(name), "pytest --update-golden tests/test_schemas.py writes it anew"


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.parent.name)
def test_what_solve_prints(path: Path) -> None:
    valid("plan", plan_json(plan_from_yaml(path)))


def test_what_commands_print_of_a_plan_and_its_files(tmp_path: Path) -> None:
    for name in ("plan.yaml", "fleet.yaml"):
        (tmp_path / name).write_bytes((PLANS[0].parent / name).read_bytes())
    first, again = fits("files", "render", tmp_path), fits("files", "render", tmp_path)
    assert {one["outcome"] for one in first["files"]} == {"create", "identical"}
    assert {one["outcome"] for one in again["files"]} == {"identical"}
    assert fits("verify", "verify", tmp_path)["as_planned"]
    assert fits("files", "render", tmp_path, "--check")["current"]

    (script,) = (path for path in map(Path, (one["path"] for one in first["files"])) if path.name == "launch.sh")
    script.write_text(script.read_text().replace("--port", "--root-path=/x --port"))
    checked = fits("files", "render", tmp_path, "--check")
    left = fits("files", "render", tmp_path)
    assert not checked["current"] and "--root-path" in checked["diff"]
    assert not left["written"] and {"path": str(script), "outcome": "conflict"} in left["files"]
    assert not fits("verify", "verify", tmp_path)["as_planned"]


def test_what_diff_prints() -> None:
    assert fits("diff", "diff", PLANS[0], PLANS[0])["differences"] == []
    assert fits("diff", "diff", PLANS[0], PLANS[1])["differences"]


def test_what_estimate_prints() -> None:
    load = ("--input-tokens", "1000", "--output-tokens", "100", "--concurrency", "4")
    assert "tpot_ms" not in fits("estimate", "estimate", "Qwen3-8B", "--gpu", "L40S")
    assert fits("estimate", "estimate", "Qwen3-8B", "--gpu", "L40S", *load)["tpot_ms"]
    assert fits("estimate", "estimate", "Qwen2.5-72B-Instruct", "--gpu", "L4", "--engine-version", "0.20.0")["reason"]


def test_what_the_catalog_prints() -> None:
    assert len(fits("catalog", "catalog", "list", "--min-size", "100")["models"]) > 10
    assert fits("catalog", "catalog", "search", "no such thing")["gpus"] == []
    for name in ("Qwen3-8B", "L4"):
        fits("catalog-show", "catalog", "show", name)


def test_what_init_prints(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    outcomes = [fits("files", "init", path, "--gpu", "L4", *more) for more in ((), (), ("--force",))]

    assert [one["files"] for one in outcomes] == [
        [{"path": str(path), "outcome": outcome}] for outcome in ("create", "conflict", "overwrite")
    ]
    assert [one["written"] for one in outcomes] == [True, False, True]
    assert fits("files", "init", "-", "--gpu", "L4")["fleet"] == path.read_text()


def test_what_report_prints(tmp_path: Path) -> None:
    page = tmp_path / "page.html"

    assert fits("files", "report", PLANS[0], "--out", page)["files"] == [{"path": str(page), "outcome": "create"}]


def test_schema_prints_the_same_with_json() -> None:
    assert json.loads(invoke("schema", "--json").stdout) == json_schema()


@pytest.mark.parametrize(
    ("arguments", "code", "kind", "said"),
    [
        (["solve", "absent.yaml"], 1, "InputError", "no such file"),
        (["catalog", "show", "no-such-model"], 1, "UnknownName", "no-such-model"),
        (["init", "absent/fleet.yaml", "--gpu", "L4"], 1, "OutputError", "cannot write"),
        (["estimate", "Qwen3-8B", "--gpu", "L4", "--max-model-len", "zero"], 2, "UsageError", "--max-model-len"),
        (["diff", "only-one.yaml"], 2, "UsageError", "NEW"),
        (["no-such-command"], 2, "UsageError", "no-such-command"),
    ],
    ids=["file", "name", "output", "value", "missing", "command"],
)
def test_an_error_is_a_document_too(
    arguments: list[str], code: int, kind: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked, plain = invoke(*arguments, "--json"), invoke(*arguments)
    error = valid("error", asked.stdout)["error"]

    assert (asked.exit_code, error["kind"]) == (code, kind)
    assert said in error["message"]
    assert (plain.exit_code, plain.stdout, plain.stderr) == (code, "", asked.stderr)


def test_an_error_after_the_document_is_on_stderr_alone(tmp_path: Path) -> None:
    script = tmp_path / "run.sh"
    script.write_text("vllm serve Qwen/Qwen3-8B\n")
    done = invoke("check", script, "--to-fleet", tmp_path / "fleet.yaml", "--json")

    assert done.exit_code == 2
    assert "--to-fleet needs --gpu" in done.stderr
    valid("check", done.stdout)


def test_what_check_prints() -> None:
    printed = fits("check", "check", *FILES, "--gpu", "l40s")

    assert {server["starts"] for server in printed["servers"]} >= {True, False}
    assert any(server["change"] for server in printed["servers"])


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_what_diagnose_prints(log: Path) -> None:
    fits("diagnose", "diagnose", log)


def test_what_diagnose_prints_beside_what_was_expected_and_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.log").touch()

    assert fits("diagnose", "diagnose", start_log(tmp_path / "a.log"), "--gpu", "l40s")["expected"]["terms"]
    assert fits("diagnose", "diagnose", tmp_path / "empty.log")["servers"] == []


def test_every_cause_is_in_the_schema() -> None:
    assert schema("diagnose")["properties"]["cause"]["enum"] == list(CAUSES)


def test_what_calibrate_prints(tmp_path: Path) -> None:
    logs = [start_log(tmp_path / "a.log"), start_log(tmp_path / "b.log")]
    logs[1].write_text(logs[1].read_text().replace("5.7 GiB", "5.3 GiB"))
    results = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, data in zip(results, (result(), result(completed=3)), strict=True):
        path.write_text(json.dumps(data))

    printed = fits("calibrate", "calibrate", *logs, *results, "--gpu", "RTX 4090")

    assert printed["contradictions"]
    assert [bool(one["why_not"]) for one in printed["load_tests"]] == [False, True]


def test_what_verify_prints_of_running_servers(tmp_path: Path) -> None:
    text = (EXAMPLE / "plan.yaml").read_text(encoding="utf-8")
    plan = plan_from_yaml(EXAMPLE / "plan.yaml")
    with serving(engine(plan, preemptions=3)) as (port, _):
        (tmp_path / "plan.yaml").write_text(text.replace(f"port: {plan.servers[0].port}", f"port: {port}"))
        printed = fits("verify-live", "verify", tmp_path, "--live")

    assert {one["state"] for one in printed["findings"]} >= {"ok", "differs"}
