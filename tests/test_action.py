"""The GitHub Action and the hook for pre-commit: their scripts run in a real repository, with a stand-in for ``gh``."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import run
from staged import amend, program

ROOT = Path(__file__).resolve().parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
CHANGE_HOOK = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))[1]
PAGE = (ROOT / "docs" / "editors-and-ci.md").read_text(encoding="utf-8")
FLEET = """
name: small
engine: {version: 0.33.0}
gpu: {name: L40S, price_per_hour: 1}
roles:
  talk: {task: general, models: Mistral-7B-Instruct-v0.3, context: 8k}
"""

GH = r"""#!/usr/bin/env bash
# Notes what it is asked for, and answers: the ids of comments to a listing, an error without a right to write.
asked="$*"
printf '%s\n' "$asked" >>"$GH_LOG"
case "$asked" in
*--jq*) cat "$GH_COMMENTS" ;;
*--method*)
  [[ ! -e $GH_FORBIDDEN ]] || exit 1
  cp "${asked##*body=@}" "$GH_LOG.body"
  ;;
esac
"""


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose first commit has a fleet and its plan."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / "fleet.yaml").write_text(FLEET, encoding="utf-8")
    assert run("solve", str(folder / "fleet.yaml"))[0] == 0
    for line in ("init --quiet", "add .", "-c user.name=a -c user.email=a@b commit --quiet -m first"):
        subprocess.run(["git", *line.split()], cwd=folder, check=True)
    return folder


@pytest.fixture
def repository(solved: Path) -> Iterator[Path]:
    yield solved
    subprocess.run(["git", "reset", "--quiet", "--hard"], cwd=solved, check=True)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What the steps of the action find: a planner, a gh, and the files that GitHub reads."""
    (tmp_path / "bin").mkdir()
    for name, text in (("planner", f'#!/bin/sh\nexec {sys.executable} -m planner "$@"\n'), ("gh", GH)):
        (tmp_path / "bin" / name).write_text(text, encoding="utf-8")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "ids").touch()
    return {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "FLEET": "fleet.yaml",
        "BASE": "HEAD",
        "NUMBER": "12",
        "GITHUB_REPOSITORY": "owner/name",
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "GH_LOG": str(tmp_path / "gh.log"),
        "GH_COMMENTS": str(tmp_path / "ids"),
        "GH_FORBIDDEN": str(tmp_path / "forbidden"),
    }


def plan(repository: Path, environment: dict[str, str]) -> tuple[dict[str, str], str]:
    """Run the action's step; return its outputs, and what it would comment."""
    file = Path(environment["HOME"], "change.md")
    subprocess.run([str(ROOT / "action" / "plan"), str(file)], cwd=repository, env=environment, check=True)
    lines = Path(environment["GITHUB_OUTPUT"]).read_text(encoding="utf-8").splitlines()
    text = file.read_text(encoding="utf-8")
    assert Path(environment["GITHUB_STEP_SUMMARY"]).read_text(encoding="utf-8").endswith(text)
    return dict(line.split("=") for line in lines), text


def comment(environment: dict[str, str], text: str, changed: str = "true") -> tuple[list[str], str]:
    """Run the action's other step; return what gh was asked to write, and what the step printed."""
    file = Path(environment["HOME"], "change.md")
    file.write_text(text, encoding="utf-8")
    step = subprocess.run(
        [str(ROOT / "action" / "comment"), str(file)],
        env={**environment, "CHANGED": changed}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    asked = Path(environment["GH_LOG"]).read_text(encoding="utf-8").splitlines()
    return [line for line in asked if "--method" in line], step.stdout


def test_an_edit_of_the_fleet_becomes_a_table_and_a_stale_plan_is_named(
    repository: Path, environment: dict[str, str]
) -> None:
    amend(repository / "fleet.yaml", "context: 8k", "context: 16k")

    outputs, text = plan(repository, environment)

    assert outputs == {"plan": "proven", "changed": "true", "stale": "true"}
    assert text.startswith("<!-- planner fleet.yaml -->\n**Plan of small**")
    assert "| talk: context | 8k | 16k |" in text
    assert "| price per hour | 1.00 $ | 1.00 $ |" in text
    assert "run `planner solve`" in text
    assert subprocess.run(["git", "status", "--short"], cwd=repository, capture_output=True, text=True).stdout == (
        " M fleet.yaml\n"
    )


def test_the_same_fleet_changes_nothing(repository: Path, environment: dict[str, str]) -> None:
    outputs, text = plan(repository, environment)

    assert outputs == {"plan": "proven", "changed": "false", "stale": "false"}
    assert "the plans promise the same" in text


def test_a_fleet_without_a_plan_says_why(repository: Path, environment: dict[str, str]) -> None:
    amend(repository / "fleet.yaml", "context: 8k", "context: 8k, concurrency: 4000")

    outputs, text = plan(repository, environment)

    assert outputs == {"plan": "none"} | {key: outputs[key] for key in ("changed", "stale")}
    assert "No plan exists" in text
    assert "    no plan exists" in text.casefold()


def test_a_fleet_with_problems_fails_and_says_where(repository: Path, environment: dict[str, str]) -> None:
    amend(repository / "fleet.yaml", "gpu: {name: L40S", "gpu: {name: L41S")

    step = subprocess.run(
        [str(ROOT / "action" / "plan"), str(repository / "change.md")],
        cwd=repository, env=environment, capture_output=True, text=True,
    )  # fmt: skip

    assert step.returncode == 1
    assert "fleet.yaml:4:" in step.stderr
    assert not (repository / "change.md").exists()


def test_it_comments_once_and_then_edits_that_comment(environment: dict[str, str]) -> None:
    text = "<!-- planner fleet.yaml -->\n**Plan**\n"

    (first,), _ = comment(environment, text)
    Path(environment["GH_COMMENTS"]).write_text("77\n78\n", encoding="utf-8")
    (_, second), _ = comment(environment, text)

    assert "--method POST repos/owner/name/issues/12/comments" in first
    assert "--method PATCH repos/owner/name/issues/comments/77" in second
    assert Path(environment["GH_LOG"] + ".body").read_text(encoding="utf-8") == text


def test_nothing_changed_makes_no_comment(environment: dict[str, str]) -> None:
    assert comment(environment, "<!-- planner fleet.yaml -->\n", changed="false")[0] == []


def test_a_token_that_may_not_write_is_a_warning(environment: dict[str, str]) -> None:
    Path(environment["GH_FORBIDDEN"]).touch()

    assert "::warning::" in comment(environment, "<!-- planner fleet.yaml -->\n")[1]


def test_the_action_is_one_and_uses_only_what_is_tested_here() -> None:
    steps: list[dict[str, Any]] = ACTION["runs"]["steps"]
    subprocess.run(
        [program("check-jsonschema"), "--builtin-schema", "vendor.github-actions", str(ROOT / "action.yml")],
        check=True, capture_output=True,
    )  # fmt: skip

    assert not [step for step in steps if "uses" in step]
    assert not [step["run"] for step in steps if "${{" in step["run"]], "an expression in a script can be made to run"
    for script in ("plan", "comment"):
        assert sum(f"/action/{script}" in step["run"] for step in steps) == 1
    set_here = {name for step in steps for name in step["env"]} | {"GITHUB_REPOSITORY", "GITHUB_OUTPUT",
                                                                    "GITHUB_STEP_SUMMARY", "MARKER"}  # fmt: skip
    for script in ("plan", "comment"):
        text = (ROOT / "action" / script).read_text(encoding="utf-8")
        assert set(re.findall(r"\$\{([A-Z_]+)", text)) <= set_here


@pytest.mark.parametrize(
    "tool", [["shellcheck", "--severity=style"], ["shfmt", "-d", "-i", "2"]], ids=lambda tool: tool[0]
)
def test_the_scripts_are_clean(tool: list[str]) -> None:
    subprocess.run([program(tool[0]), *tool[1:], *map(str, sorted((ROOT / "action").iterdir()))], check=True)


def test_the_workflow_of_the_docs_is_one_and_gives_no_more_rights_than_it_needs(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(name: plan\n.*?)```", PAGE, re.DOTALL)
    (tmp_path / "plan.yml").write_text(text, encoding="utf-8")
    subprocess.run(
        [program("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", str(tmp_path / "plan.yml")],
        check=True, capture_output=True,
    )  # fmt: skip
    workflow = yaml.safe_load(text)
    (step,) = [step for step in workflow["jobs"]["plan"]["steps"] if "planner" in step.get("uses", "")]

    assert set(step.get("with", {})) <= set(ACTION["inputs"])
    assert workflow["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert "pull_request_target" not in text


def test_the_hook_prints_the_table_of_what_is_committed(repository: Path, environment: dict[str, str]) -> None:
    amend(repository / "fleet.yaml", "context: 8k", "context: 16k")
    entry = [*shlex.split(CHANGE_HOOK["entry"]), *CHANGE_HOOK["args"]]
    same = subprocess.run(entry, cwd=repository, env=environment, check=True, capture_output=True, text=True)
    assert run("solve", str(repository / "fleet.yaml"))[0] == 0
    changed = subprocess.run(entry, cwd=repository, env=environment, check=True, capture_output=True, text=True)

    assert "the plans promise the same" in same.stdout
    assert "| talk: context | 8k | 16k |" in changed.stdout
    assert [bool(re.search(CHANGE_HOOK["files"], path)) for path in ("plan.yaml", "a/plan.yaml", "fleet.yaml")] == [
        True, True, False,
    ]  # fmt: skip
