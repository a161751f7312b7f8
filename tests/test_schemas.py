"""The JSON Schemas of what commands print with ``--json``: every output fits its schema, which has no other key."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from test_calibrate_speed import result, start_log
from test_live import EXAMPLE, engine, serving

from planner.cli import main
from planner.logs.causes import CAUSES
from planner.plan import plan_from_yaml

SCHEMAS = Path(__file__).parent.parent / "docs" / "schemas"
CASES = Path(__file__).parent / "cases"
FILES = sorted(path for path in (CASES / "check").glob("*/*") if path.name != "expected.json")
LOGS = sorted((CASES / "logs").glob("*.log"))


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    return found


def fits(name: str, *arguments: str | Path) -> dict[str, Any]:
    """Run a command, hold what it prints against a schema, and return it."""
    done = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    printed: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(printed, schema(name), cls=jsonschema.Draft202012Validator)
    return printed


@pytest.mark.parametrize("name", ["check", "diagnose", "calibrate", "verify-live"])
def test_a_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({}, schema(name))


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
