"""Writing artifacts: verbs, conflicts, and that nothing is ever half written."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from planner.artifacts import File, Outcome, Verb, write
from planner.errors import OutputError

FIRST = {"a.sh": File("one\n", executable=True), "deep/b.txt": File("two\n")}


def verbs(outcomes: tuple[Outcome, ...]) -> dict[str, str]:
    return {outcome.path: outcome.verb.value for outcome in outcomes}


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()
    }


def test_create_then_identical(tmp_path: Path) -> None:
    assert verbs(write(FIRST, tmp_path / "out")) == {"a.sh": "create", "deep/b.txt": "create"}
    assert verbs(write(FIRST, tmp_path / "out")) == {"a.sh": "identical", "deep/b.txt": "identical"}
    assert os.access(tmp_path / "out" / "a.sh", os.X_OK)
    assert not os.access(tmp_path / "out" / "deep" / "b.txt", os.X_OK) or os.geteuid() == 0


def test_the_sums_are_those_of_sha256sum(tmp_path: Path) -> None:
    write(FIRST, tmp_path)

    check = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path / "artifacts", capture_output=True, text=True, check=True
    )

    assert check.stdout.splitlines() == ["../a.sh: OK", "../deep/b.txt: OK"]


def test_an_untouched_file_is_overwritten(tmp_path: Path) -> None:
    write(FIRST, tmp_path)

    assert verbs(write({**FIRST, "a.sh": File("new\n", executable=True)}, tmp_path))["a.sh"] == "overwrite"
    assert tree(tmp_path)["a.sh"] == "new\n"


def test_an_edited_file_is_a_conflict_and_stops_the_write(tmp_path: Path) -> None:
    write(FIRST, tmp_path)
    (tmp_path / "a.sh").write_text("mine\n", encoding="utf-8")
    before = tree(tmp_path)

    outcomes = write({"a.sh": File("new\n"), "deep/b.txt": File("newer\n"), "c": File("c\n")}, tmp_path)

    assert verbs(outcomes) == {"a.sh": "conflict", "deep/b.txt": "skip", "c": "skip"}
    assert tree(tmp_path) == before


def test_force_overwrites_a_conflict(tmp_path: Path) -> None:
    write(FIRST, tmp_path)
    (tmp_path / "a.sh").write_text("mine\n", encoding="utf-8")

    assert verbs(write(FIRST, tmp_path, force=True)) == {"a.sh": "overwrite", "deep/b.txt": "identical"}
    assert tree(tmp_path)["a.sh"] == "one\n"
    assert verbs(write(FIRST, tmp_path))["a.sh"] == "identical"


def test_a_file_that_was_never_ours_is_a_conflict(tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text("theirs\n", encoding="utf-8")

    assert verbs(write(FIRST, tmp_path)) == {"a.sh": "conflict", "deep/b.txt": "skip"}


def test_an_edit_that_equals_the_new_text_is_no_conflict(tmp_path: Path) -> None:
    write(FIRST, tmp_path)
    (tmp_path / "a.sh").write_text("new\n", encoding="utf-8")

    assert verbs(write({**FIRST, "a.sh": File("new\n", executable=True)}, tmp_path))["a.sh"] == "identical"


def test_a_lost_executable_bit_is_mended(tmp_path: Path) -> None:
    write(FIRST, tmp_path)
    (tmp_path / "a.sh").chmod(0o644)

    assert verbs(write(FIRST, tmp_path))["a.sh"] == "overwrite"
    assert (tmp_path / "a.sh").stat().st_mode & 0o100


def test_files_of_the_last_plan_are_removed_unless_edited(tmp_path: Path) -> None:
    write(FIRST, tmp_path)
    only = {"a.sh": FIRST["a.sh"]}

    assert verbs(write(only, tmp_path, dry_run=True)) == {"a.sh": "identical", "deep/b.txt": "remove"}
    (tmp_path / "deep" / "b.txt").write_text("mine\n", encoding="utf-8")
    assert verbs(write(only, tmp_path))["deep/b.txt"] == "conflict"
    (tmp_path / "deep" / "b.txt").write_text("two\n", encoding="utf-8")
    write(only, tmp_path)
    assert not (tmp_path / "deep").exists()


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    assert set(verbs(write(FIRST, tmp_path / "out", dry_run=True)).values()) == {"create"}
    assert not (tmp_path / "out").exists()


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SECRET=1\n", encoding="utf-8")
    write(FIRST, tmp_path)

    assert tree(tmp_path)[".env"] == "SECRET=1\n"


def test_a_manifest_cannot_reach_out_of_the_folder(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious\n", encoding="utf-8")
    digest = hashlib.sha256(b"precious\n").hexdigest()
    (tmp_path / "out" / "artifacts").mkdir(parents=True)
    sums = f"{digest}  ../../victim\n{digest}  {victim}\n"
    (tmp_path / "out" / "artifacts" / "SHA256SUMS").write_text(sums, encoding="utf-8")

    write(FIRST, tmp_path / "out")

    assert victim.read_text(encoding="utf-8") == "precious\n"


@pytest.mark.parametrize("obstacle", ["file-as-folder", "folder-as-file", "no-such-parent"])
def test_what_cannot_be_written_is_one_error_and_no_change(tmp_path: Path, obstacle: str) -> None:
    folder = tmp_path / "out"
    if obstacle == "file-as-folder":
        folder.write_text("a file\n", encoding="utf-8")
    elif obstacle == "folder-as-file":
        (folder / "deep" / "b.txt").mkdir(parents=True)
    else:
        folder = Path("/proc/nowhere/out")

    with pytest.raises(OutputError, match="cannot write"):
        write(FIRST, folder)

    assert not (tmp_path / "out" / "a.sh").exists()


def test_a_disk_error_halfway_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(FIRST, tmp_path)
    before = tree(tmp_path)
    calls = iter([None, OSError(28, "No space left on device")])

    def full(descriptor: int) -> None:
        error = next(calls)
        if error is not None:
            raise error

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="no space left"):
        write({"a.sh": File("new\n"), "deep/b.txt": File("newer\n")}, tmp_path)

    assert tree(tmp_path) == before


def test_every_verb_is_documented() -> None:
    page = (Path(__file__).parent.parent / "docs" / "artifacts.md").read_text(encoding="utf-8")

    assert [verb for verb in Verb if f"`{verb.value}`" not in page] == []
