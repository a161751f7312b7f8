"""``planner what-if``: the same answers as solving each scenario alone, side by side and in the order asked."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from documents import valid
from fleets import PAIR, catalog, changed
from msgspec.structs import replace

from planner.cli import main
from planner.fleet import Edit, load_fleet, read_fleet, scenarios
from planner.options.paces import price_per_mtok
from planner.plan import NoPlan, Plan
from planner.solve import solve
from planner.solve.scenarios import what_if

EDITS = (
    Edit("--gpu", "rtx-4090"),
    Edit("--gpu", "l40s"),
    Edit("--set", "roles.coder.concurrency.target=8"),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("what-if") / "fleet.yaml"
    path.write_text(yaml.safe_dump(PAIR, sort_keys=False), encoding="utf-8")
    return path


def run(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["what-if", str(path), *arguments])


def test_processes_change_no_answer(path: Path, tmp_path: Path) -> None:
    wanted = scenarios(EDITS, matrix=False)
    together = list(what_if(read_fleet(path), wanted, catalog(), workers=2))
    alone = list(what_if(read_fleet(path), wanted, catalog(), workers=1))
    changed_file = tmp_path / "fleet.yaml"
    changed_file.write_text(yaml.safe_dump(changed(PAIR, "gpu", "l40s")), encoding="utf-8")

    assert together == alone
    assert [outcome.scenario for outcome in together] == list(wanted)
    assert [type(outcome.answer) for outcome in together] == [Plan, NoPlan, Plan, Plan]
    own = solve(load_fleet(changed_file, catalog()), catalog())
    assert isinstance(own, Plan)
    assert together[2].answer == replace(own, runner_up=None)


def test_the_table_compares_with_the_fleet_as_written(path: Path) -> None:
    result = run(path, "--jobs", "1", *(word for edit in EDITS for word in (edit.option, edit.argument)))
    lines = result.stdout.splitlines()

    assert result.exit_code == 0, result.output
    assert lines[0].split() == [
        "scenario", "GPUs", "$/h", "$/M", "tokens", "plan", "against", "the", "first", "coder", "general",
    ]  # fmt: skip
    assert [line.split("  ")[0] for line in lines[1:5]] == ["as written", *(edit.argument for edit in EDITS)]
    assert " proven " in lines[1]
    assert "tokens/s each after" in lines[1]
    assert " none" in lines[2]
    assert "1 × L40S" in lines[3]
    assert "1.86" in lines[3]
    assert "−" in lines[3]
    assert lines[6].startswith("rtx-4090: ")
    assert [line.split(", ")[0] for line in lines[8:10]] == [
        "$/h: jarvislabs 1x_RTXPRO6000_28V_160G",
        "$/h: aws g6e.xlarge",
    ]
    assert "8k × 4: a context of 8k tokens, 4 requests at once" in lines[10:]


def test_json_has_plans_and_proofs_that_there_are_none(path: Path) -> None:
    result = run(path, "--jobs", "1", "--json", "--gpu", "rtx-4090", "--gpu", "l40s")
    written, none, other = valid("what-if", result.stdout)["scenarios"]

    assert (written["scenario"], written["edits"], written["gain"], written["differences"]) == (
        "as written",
        [],
        None,
        [],
    )
    assert written["gpus"] == [{"pool": "gpu", "gpu": "RTX PRO 6000 Blackwell Workstation", "count": 1}]
    assert written["plan"]["fleet"] == "pair"
    assert (none["plan"], none["no_plan"]["fleet"], none["gain"]) == (None, "pair", None)
    assert (other["edits"], other["usd_per_hour"] > 1, bool(other["price_sources"])) == (["--gpu l40s"], True, True)
    outputs = [server["speed"]["output_millitokens_per_second"]["value"] for server in written["plan"]["servers"]]
    own = price_per_mtok(round(written["usd_per_hour"] * 1e6), sum(outputs))
    assert written["plan"]["money"]["full_load"]["output"]["value"] == own
    assert written["usd_per_million_output_tokens"] == own / 1e6
    assert other["gain"]["by"] < 0
    assert {item["kind"] for item in other["differences"]} >= {"server", "gpu", "stage"}


def test_a_wrong_scenario_stops_all_before_anything_is_solved(path: Path) -> None:
    result = run(path, "--gpu", "l40s", "--gpu", "nothing-like-it", "--set", "roles.coder.weight=0")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "--gpu nothing-like-it: gpu.name: unknown GPU" in result.stderr
    assert "--set roles.coder.weight=0: roles.coder.weight: expected a whole number" in result.stderr
