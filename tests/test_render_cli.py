"""planner render and --check: the files of a committed plan, and whether they are what it says."""

import re
from pathlib import Path

import pytest
from commands import invoke
from fleets import PAIR
from staged import amend
from yaml import safe_dump


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that was just solved."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.yaml").write_text(safe_dump(PAIR, sort_keys=False), encoding="utf-8")
    assert invoke("solve").exit_code == 0
    return tmp_path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_was_just_written_is_up_to_date(folder: Path) -> None:
    before = tree(folder)
    for command in ("solve", "render"):
        result = invoke(command, "--check")
        assert (result.exit_code, result.stdout) == (0, "")

    assert tree(folder) == before


@pytest.mark.parametrize("command", ["solve", "render"])
def test_a_hand_edit_is_a_diff(folder: Path, command: str) -> None:
    amend(folder / "artifacts" / "launch.sh", "readonly router_port=8000", "readonly router_port=9000")
    before = tree(folder)
    result = invoke(command, "--check")

    assert result.exit_code == 5
    first = r"1 of \d+ files differs from what is planned now:"
    assert re.match(rf"{first}\n  artifacts/launch.sh: edited by hand\n\n--- a/artifacts/", result.stdout)
    assert "--- a/artifacts/launch.sh\n+++ b/artifacts/launch.sh\n" in result.stdout
    assert "-readonly router_port=9000\n+readonly router_port=8000\n" in result.stdout
    assert "with --force in place of --check overwrites it" in result.stderr
    assert tree(folder) == before


def test_a_missing_file_and_a_lost_permission_are_differences(folder: Path) -> None:
    (folder / "artifacts" / "compose.yaml").unlink()
    (folder / "artifacts" / "gate.sh").chmod(0o644)
    result = invoke("render", "--check")

    assert result.exit_code == 5
    assert "the same command without --check writes them" in result.stderr
    assert "--- /dev/null\n+++ b/artifacts/compose.yaml\n" in result.stdout
    assert "artifacts/gate.sh: is not executable\n" in result.stdout


def test_render_restores_what_is_missing(folder: Path) -> None:
    before = tree(folder)
    (folder / "artifacts" / "compose.yaml").unlink()

    assert invoke("render").exit_code == 0
    assert tree(folder) == before


def test_render_leaves_a_hand_edit_alone_unless_forced(folder: Path) -> None:
    before = tree(folder)
    amend(folder / "artifacts" / "launch.sh", "readonly router_port=8000", "readonly router_port=9000")

    assert invoke("render").exit_code == 5
    assert invoke("render", "--force").exit_code == 0
    assert tree(folder) == before


def test_a_plan_that_breaks_its_promises_is_not_rendered(folder: Path) -> None:
    amend(folder / "plan.yaml", "max_model_len: 16384", "max_model_len: 999999")
    before = tree(folder)
    result = invoke("render", "--force")

    assert result.exit_code == 1
    assert "the plan fails its check" in result.stderr
    assert tree(folder) == before
