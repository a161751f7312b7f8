"""The hook for pre-commit: what it runs, when, and what it says about a repository with a fleet in it."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from staged import amend

from planner.cli import main

ROOT = Path(__file__).resolve().parent.parent
HOOK = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))[0]
FLEET = """
name: small
engine: {version: 0.33.0}
gpu: L40S
roles:
  talk: {task: general, models: Mistral-7B-Instruct-v0.3, context: 8k}
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.yaml").write_text(FLEET, encoding="utf-8")
    assert CliRunner().invoke(main, ["solve"]).exit_code == 0
    subprocess.run(["git", "init", "--quiet"], check=True)
    subprocess.run(["git", "add", "."], check=True)
    return tmp_path


def committed() -> list[str]:
    """The files of the next commit for which the hook runs."""
    listed = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True)
    return [path for path in listed.stdout.splitlines() if re.search(HOOK["files"], path)]


def hook(*arguments: str) -> Result:
    program, *rest = shlex.split(HOOK["entry"])
    assert (program, HOOK["language"], HOOK["pass_filenames"]) == ("planner", "python", False)
    return CliRunner(catch_exceptions=False).invoke(main, [*rest, *arguments], prog_name="planner")


def test_it_runs_for_what_solve_writes_and_passes(repository: Path) -> None:
    (repository / "notes.md").write_text("fleet.yaml is ours\n", encoding="utf-8")
    subprocess.run(["git", "add", "."], check=True)

    assert {"fleet.yaml", "plan.yaml", "artifacts/launch.sh", "artifacts/SHA256SUMS"} <= set(committed())
    assert "notes.md" not in committed()
    assert hook().exit_code == 0
    assert hook("fleet.yaml").exit_code == 0


def test_it_fails_with_a_diff_when_the_fleet_or_a_file_was_edited(repository: Path) -> None:
    amend(repository / "fleet.yaml", "context: 8k", "context: 16k")
    edited = hook()
    amend(repository / "fleet.yaml", "context: 16k", "context: 8k")
    amend(repository / "artifacts" / "launch.sh", "readonly router_port=8000", "readonly router_port=9000")
    patched = hook()

    assert (edited.exit_code, patched.exit_code) == (5, 5)
    assert "-    max_model_len: 8192\n+    max_model_len: 16384\n" in edited.stdout
    assert "-readonly router_port=9000\n+readonly router_port=8000\n" in patched.stdout


def test_the_docs_show_the_same_hook() -> None:
    page = (ROOT / "docs" / "artifacts.md").read_text(encoding="utf-8")
    shown = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(repos:.*?)```", page, re.DOTALL)]
    (other,), (local,) = ([hook for repo in block["repos"] for hook in repo["hooks"]] for block in shown)

    assert other["id"] == local["id"] == HOOK["id"]
    assert {key: local[key] for key in ("name", "entry", "files", "pass_filenames")} == {
        key: HOOK[key] for key in ("name", "entry", "files", "pass_filenames")
    }
