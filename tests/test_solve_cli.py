"""``planner solve`` from the outside: streams, exit codes, what is written and what is left alone."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import plans
import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from planner.catalog import Catalog
from planner.cli import main
from planner.cli.plan_text import plan_text
from planner.cli.text import WIDTH, wrapped
from planner.facts.accuracy import Accuracy
from planner.fleet import Fleet
from planner.plan import Plan, Stage, plan_from_yaml
from planner.solve import solve as solve_fleet
from planner.units import GIB

CASES = Path(__file__).parent / "cases"
# One mistake is that the small test catalog has no vision model; the shipped catalog has.
BAD_FLEETS = sorted(set((CASES / "bad-fleets").glob("*.yaml")) - {CASES / "bad-fleets" / "task-without-models.yaml"})
SMALL = """
name: small
engine: {version: 0.33.0}
gpu: L40S
roles:
  talk:
    task: general
    models: Mistral-7B-Instruct-v0.3
    context: 8k
    concurrency: {min: 1, target: 4}
"""
TOO_MUCH = SMALL.replace("Mistral-7B-Instruct-v0.3", "Llama-3.3-70B-Instruct\n    schemes: bf16")


def run(*arguments: str) -> Result:
    return CliRunner(catch_exceptions=False).invoke(main, ["solve", *arguments], prog_name="planner")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.yaml").write_text(SMALL, encoding="utf-8")
    return tmp_path


def verbs(result: Result) -> dict[str, str]:
    """Return what is said of each path, without the hints and the count of files that stay."""
    lines = (line.split() for line in result.stderr.splitlines() if not line.startswith(("  hint:", "Plan:", "Next:")))
    return {words[1]: words[0] for words in lines}


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()


def test_a_proven_plan_is_printed_and_written_next_to_the_fleet(folder: Path) -> None:
    result = run()

    assert result.exit_code == 0
    assert result.stdout.startswith("small: proven best for balanced, on 1 × L40S with vllm 0.33.0\n\n")
    assert set(verbs(result).values()) == {"create"}
    assert {"plan.yaml", "artifacts/launch.sh", "artifacts/compose.yaml"} <= set(verbs(result))
    assert plan_from_yaml(folder / "plan.yaml").fleet == "small"


def test_more_targets_are_rendered_on_request(folder: Path) -> None:
    plain = verbs(run("--dry-run"))
    more = verbs(run("--dry-run", "--target", "quadlet"))

    assert plain.keys() < more.keys()
    assert {path.split("/")[1] for path in more.keys() - plain.keys()} == {"quadlet"}


def test_running_again_changes_nothing(folder: Path) -> None:
    run()
    before = dict(files(folder))
    result = run("fleet.yaml")

    assert result.exit_code == 0
    count = len(before.keys() - {"fleet.yaml", "artifacts/SHA256SUMS"})
    assert result.stderr == (
        f"Plan: 1 server on 1 GPU, {count} files: {count} unchanged, none edited by hand\n"
        "Next: less artifacts/README.md\n"
    )
    assert dict(files(folder)) == before


def test_json_is_the_plan_and_nothing_else(folder: Path) -> None:
    result = run("--json", "--dry-run")

    assert result.exit_code == 0
    assert [server["name"] for server in json.loads(result.stdout)["servers"]] == ["talk"]


def test_a_dry_run_writes_nothing(folder: Path) -> None:
    result = run("--dry-run", "--out", "elsewhere")

    assert result.exit_code == 0
    assert set(verbs(result).values()) == {"create"}
    assert "  hint: this was a dry run; nothing was written\n" in result.stderr
    assert re.fullmatch(r"Plan: 1 server on 1 GPU, (\d+) files: \1 to create, none edited by hand",
                        result.stderr.splitlines()[-1])  # fmt: skip
    assert [name for name, _ in files(folder)] == ["fleet.yaml"]


def test_out_is_made_and_used(folder: Path) -> None:
    assert run("--out", "deep/er").exit_code == 0
    assert (folder / "deep" / "er" / "plan.yaml").is_file()
    assert not (folder / "plan.yaml").exists()


@pytest.mark.parametrize("options", [(), ("--dry-run",)], ids=["write", "dry-run"])
def test_a_file_edited_by_hand_is_a_conflict(options: tuple[str, ...], folder: Path) -> None:
    run()
    (folder / "artifacts" / "launch.sh").write_text("mine\n", encoding="utf-8")
    result = run(*options)

    assert result.exit_code == 5
    assert verbs(result)["artifacts/launch.sh"] == "conflict"
    assert "  hint: a file was edited by hand, so nothing was written; --force overwrites it\n" in result.stderr
    assert result.stderr.endswith(" unchanged, 1 edited by hand\n")
    assert (folder / "artifacts" / "launch.sh").read_text(encoding="utf-8") == "mine\n"


def test_force_overwrites_what_was_edited(folder: Path) -> None:
    run()
    written = dict(files(folder))
    (folder / "artifacts" / "launch.sh").write_text("mine\n", encoding="utf-8")
    result = run("--force")

    assert result.exit_code == 0
    assert verbs(result)["artifacts/launch.sh"] == "overwrite"
    assert dict(files(folder)) == written


def test_no_plan_is_an_answer_of_its_own(folder: Path) -> None:
    (folder / "fleet.yaml").write_text(TOO_MUCH, encoding="utf-8")
    result = run()

    assert (result.exit_code, result.stderr) == (3, "")
    assert result.stdout.startswith("no plan exists for small on 1 × L40S\n")
    assert "hint:" in result.stdout
    assert [name for name, _ in files(folder)] == ["fleet.yaml"]


def test_no_plan_as_json(folder: Path) -> None:
    (folder / "fleet.yaml").write_text(TOO_MUCH, encoding="utf-8")
    result = run("--json")

    assert (result.exit_code, json.loads(result.stdout)["fleet"]) == (3, "small")


def test_an_unproven_plan_has_its_own_exit_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unproven(fleet: Fleet, catalog: Catalog, budget: int, previous: Plan | None) -> Plan:
        plan = solve_fleet(fleet, catalog, budget)
        assert isinstance(plan, Plan)
        stages = tuple(replace(stage, proven=False) for stage in plan.proof.stages)
        return replace(plan, proof=replace(plan.proof, proven=False, stages=stages))

    monkeypatch.setattr("planner.solve.solve", unproven)
    monkeypatch.setattr("planner.cli.solving.require", lambda *_: None)
    result = run()

    assert result.exit_code == 4
    assert result.stdout.startswith("small: not proven best for balanced")
    assert (folder / "plan.yaml").is_file()


@pytest.mark.parametrize("path", BAD_FLEETS, ids=lambda path: path.stem)
def test_a_bad_fleet_is_an_error_without_a_traceback(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    result = run(path.name, "--dry-run")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"{path.name}:")
    assert "Traceback" not in result.stderr


def test_an_output_folder_that_cannot_be(folder: Path) -> None:
    result = run("--out", "fleet.yaml/plan")

    assert result.exit_code == 1
    assert result.stderr == "error: cannot write fleet.yaml/plan: not a directory\n"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ nonsense }}\n", "script/launch.sh.j2: 'nonsense' is undefined"),
        ("\n{% if %}\n", "mine/script/launch.sh.j2:2:1: Expected an expression, got 'end of statement block'"),
    ],
    ids=["undefined", "syntax"],
)
def test_a_broken_template_is_named(template: str, message: str, folder: Path) -> None:
    (folder / "mine" / "script").mkdir(parents=True)
    (folder / "mine" / "script" / "launch.sh.j2").write_text(template, encoding="utf-8")
    result = run("--templates", "mine")

    assert result.exit_code == 1
    assert message in result.stderr
    assert not (folder / "plan.yaml").exists()


def test_a_template_of_ones_own_takes_the_place_of_the_shipped_one(folder: Path) -> None:
    (folder / "mine" / "script").mkdir(parents=True)
    (folder / "mine" / "script" / "launch.sh.j2").write_text("# {{ servers[0].name }}\n", encoding="utf-8")

    assert run("--templates", "mine").exit_code == 0
    assert (folder / "artifacts" / "launch.sh").read_text(encoding="utf-8") == "# talk\n"


def test_options_are_checked_before_anything_is_read(folder: Path) -> None:
    for wrong in (["--time-limit", "0"], ["--templates", "absent"], ["--catalog", "absent"], ["--out", "fleet.yaml"]):
        assert run(*wrong).exit_code == 2


KNOWN = Accuracy(
    scale="bigcodebench", score=4177, score_floor=4074, recovery_median=9950, recovery_floor=9800, label="default",
    source="41 models, 289 benchmarks", score_source="BigCodeBench leaderboard",
)  # fmt: skip


def test_the_text_of_a_plan(update_golden: bool) -> None:
    plan = plans.plan(
        plans.server("coder", accuracy=KNOWN),
        plans.server("chat", port=8002, concurrency_request=12, request_tokens=8192),
    )

    text = plan_text(plan)
    if update_golden:
        (CASES / "plan-text.txt").write_text(f"{text}\n", encoding="utf-8")

    assert f"{text}\n" == (CASES / "plan-text.txt").read_text(encoding="utf-8")


def test_an_unproven_plan_shows_its_gap_and_a_version_nobody_studied_is_named() -> None:
    found = plans.plan(plans.server("coder"), engine_version="0.99.0", engine_known=False)
    stage = Stage(name="balanced", value=1_500_000, bound=1_750_000, proven=False)
    found = replace(found, proof=replace(found.proof, proven=False, stages=(stage,)))

    assert plan_text(found).splitlines()[0] == (
        "workstation: not proven best for balanced (balanced: a plan with up to 17 % more is not excluded), on 1 × "
        "rtx-pro-6000 with vllm 0.99.0 (not studied: sized as its nearest older version)"
    )


def test_running_text_keeps_to_its_width_and_numbers_to_their_units() -> None:
    text = "  hint: " + "12.5 % of 3.25 GiB for some-organisation/a-model-with-hyphens, " * 9
    lines = wrapped(text).splitlines()

    assert " ".join(line.strip() for line in lines) == text.strip()
    assert max(map(len, lines)) <= WIDTH
    assert all(line.startswith("    ") for line in lines[1:])
    assert not [line for line in lines if line.strip().startswith(("%", "GiB")) or line.endswith("-")]


def test_the_printed_bytes_add_up() -> None:
    plan = plans.plan(plans.server("a"), plans.server("b", port=8002))
    ledger = next(part for part in plan_text(plan).split("\n\n") if part.startswith("GPU 0")).splitlines()
    *parts, total = (int(line.split()[-1].replace(",", "")) for line in ledger[1:])

    assert sum(parts) == total == plan.gpus[0].total_bytes
    assert total > 90 * GIB
