"""Writing artifacts: verbs, conflicts, and that nothing is ever half written."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from planner.artifacts import File, Outcome, Verb, changes, edited, write
from planner.errors import OutputError

FIRST = {"a.sh": File("one\n", executable=True), "artifacts/deep/b.txt": File("two\n")}


def verbs(outcomes: tuple[Outcome, ...]) -> dict[str, str]:
    return {outcome.path: outcome.verb.value for outcome in outcomes}


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()
    }


def test_create_then_identical(tmp_path: Path) -> None:
    assert verbs(write(FIRST, tmp_path / "out")) == {"a.sh": "create", "artifacts/deep/b.txt": "create"}
    assert verbs(write(FIRST, tmp_path / "out")) == {"a.sh": "identical", "artifacts/deep/b.txt": "identical"}
    assert os.access(tmp_path / "out" / "a.sh", os.X_OK)
    assert not os.access(tmp_path / "out" / "artifacts" / "deep" / "b.txt", os.X_OK) or os.geteuid() == 0


def test_the_sums_are_those_of_sha256sum(tmp_path: Path) -> None:
    write(FIRST, tmp_path)

    check = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path / "artifacts", capture_output=True, text=True, check=True
    )

    assert check.stdout.splitlines() == ["../a.sh: OK", "deep/b.txt: OK"]


def test_an_untouched_file_is_overwritten(tmp_path: Path) -> None:
    write(FIRST, tmp_path)

    assert verbs(write({**FIRST, "a.sh": File("new\n", executable=True)}, tmp_path))["a.sh"] == "overwrite"
    assert tree(tmp_path)["a.sh"] == "new\n"


def test_an_edited_file_is_a_conflict_and_stops_the_write(tmp_path: Path) -> None:
    write(FIRST, tmp_path)
    (tmp_path / "a.sh").write_text("mine\n", encoding="utf-8")
    before = tree(tmp_path)

    outcomes = write({"a.sh": File("new\n"), "artifacts/deep/b.txt": File("newer\n"), "c": File("c\n")}, tmp_path)

    assert verbs(outcomes) == {"a.sh": "conflict", "artifacts/deep/b.txt": "skip", "c": "skip"}
    assert tree(tmp_path) == before


def test_force_overwrites_a_conflict(tmp_path: Path) -> None:
    write(FIRST, tmp_path)
    (tmp_path / "a.sh").write_text("mine\n", encoding="utf-8")

    assert verbs(write(FIRST, tmp_path, force=True)) == {"a.sh": "overwrite", "artifacts/deep/b.txt": "identical"}
    assert tree(tmp_path)["a.sh"] == "one\n"
    assert verbs(write(FIRST, tmp_path))["a.sh"] == "identical"


def test_a_file_that_was_never_ours_is_a_conflict(tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text("theirs\n", encoding="utf-8")

    assert verbs(write(FIRST, tmp_path)) == {"a.sh": "conflict", "artifacts/deep/b.txt": "skip"}


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

    assert verbs(write(only, tmp_path, dry_run=True)) == {"a.sh": "identical", "artifacts/deep/b.txt": "remove"}
    (tmp_path / "artifacts" / "deep" / "b.txt").write_text("mine\n", encoding="utf-8")
    assert verbs(write(only, tmp_path))["artifacts/deep/b.txt"] == "conflict"
    (tmp_path / "artifacts" / "deep" / "b.txt").write_text("two\n", encoding="utf-8")
    write(only, tmp_path)
    assert not (tmp_path / "artifacts" / "deep").exists()


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    assert set(verbs(write(FIRST, tmp_path / "out", dry_run=True)).values()) == {"create"}
    assert not (tmp_path / "out").exists()


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SECRET=1\n", encoding="utf-8")
    write(FIRST, tmp_path)

    assert tree(tmp_path)[".env"] == "SECRET=1\n"


SECRET = b"precious\n"
"""The content of files that are none of ours; the digest of it is no secret."""


@pytest.mark.parametrize(
    "listed",
    [
        "../fleet.yaml", "../../victim", "{victim}", "../artifacts/../fleet.yaml", "./../fleet.yaml", "..//fleet.yaml",
        "link", "way/victim", "loop/loop/fleet.yaml", "deep/../../fleet.yaml", "fleet.yaml\0", "\0", "\0/../fleet.yaml",
        "SHA256SUMS", ".", "..", "", "deep", "pipe", "a" * 5000, "\udcff", "\x85", "*\tfleet.yaml",
    ],
)  # fmt: skip
@pytest.mark.parametrize("force", [False, True])
def test_the_sums_reach_nothing_outside_of_artifacts(tmp_path: Path, listed: str, force: bool) -> None:
    """Whatever the file says, nothing that is not in ``artifacts/`` is read, written or removed because of it."""
    folder, home = tmp_path / "out", tmp_path / "out" / "artifacts"
    write(FIRST, folder)
    for path in (tmp_path / "victim", folder / "fleet.yaml"):
        path.write_bytes(SECRET)
    (home / "link").symlink_to(tmp_path / "victim")
    (home / "way").symlink_to(tmp_path)
    (home / "loop").symlink_to(".")
    os.mkfifo(home / "pipe")
    line = f"{hashlib.sha256(SECRET).hexdigest()}  {listed.format(victim=tmp_path / 'victim')}\n"
    with (home / "SHA256SUMS").open("ab") as stream:
        stream.write(line.encode(errors="surrogateescape"))

    assert verbs(write(FIRST, folder, force=force)) == {"a.sh": "identical", "artifacts/deep/b.txt": "identical"}
    assert changes(FIRST, folder) == ""
    assert not edited(folder, "a.sh")
    assert (tmp_path / "victim").read_bytes() == (folder / "fleet.yaml").read_bytes() == SECRET
    assert sorted(path.name for path in home.iterdir()) == ["SHA256SUMS", "deep", "link", "loop", "pipe", "way"]


@pytest.mark.parametrize("sums", [b"\xff\xfe\0", b"\0" * 99, "Ω".encode("utf-16") * 99, b"", b"\n" * 9, b"\r\n\r\n"])
def test_sums_that_cannot_be_read_are_no_sums(tmp_path: Path, sums: bytes) -> None:
    write(FIRST, tmp_path)
    (tmp_path / "artifacts" / "SHA256SUMS").write_bytes(sums)

    assert set(verbs(write(FIRST, tmp_path)).values()) == {"identical"}
    assert tree(tmp_path)["artifacts/SHA256SUMS"].endswith("deep/b.txt\n")


@pytest.mark.parametrize("kind", ["artifacts", "artifacts/deep"])
@pytest.mark.parametrize("target", ["elsewhere", "."])
def test_a_folder_that_is_a_link_is_not_written_to(tmp_path: Path, kind: str, target: str) -> None:
    folder = tmp_path / "out"
    (tmp_path / "elsewhere").mkdir()
    (folder / kind).parent.mkdir(parents=True)
    (folder / kind).symlink_to(tmp_path / target if target != "." else target)

    with pytest.raises(OutputError, match="a folder on the way to it is a link"):
        write(FIRST, folder)

    assert not any((tmp_path / "elsewhere").iterdir())
    assert not (folder / "a.sh").exists()


def test_a_file_that_is_a_link_is_a_conflict(tmp_path: Path) -> None:
    write(FIRST, tmp_path)
    (tmp_path / "mine").write_text("one\n", encoding="utf-8")
    (tmp_path / "a.sh").unlink()
    (tmp_path / "a.sh").symlink_to("mine")

    assert verbs(write({**FIRST, "a.sh": File("new\n")}, tmp_path))["a.sh"] == "conflict"
    assert verbs(write({**FIRST, "a.sh": File("new\n")}, tmp_path, force=True))["a.sh"] == "overwrite"
    assert (tmp_path / "mine").read_text(encoding="utf-8") == "one\n"
    assert not (tmp_path / "a.sh").is_symlink()


@pytest.mark.parametrize("obstacle", ["file-as-folder", "folder-as-file", "no-such-parent"])
def test_what_cannot_be_written_is_one_error_and_no_change(tmp_path: Path, obstacle: str) -> None:
    folder = tmp_path / "out"
    if obstacle == "file-as-folder":
        folder.write_text("a file\n", encoding="utf-8")
    elif obstacle == "folder-as-file":
        (folder / "artifacts" / "deep" / "b.txt").mkdir(parents=True)
    else:
        folder = Path("/proc/nowhere/out")

    with pytest.raises(OutputError, match=r"cannot (read|write)"):
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
        write({"a.sh": File("new\n"), "artifacts/deep/b.txt": File("newer\n")}, tmp_path)

    assert tree(tmp_path) == before


def test_what_ends_a_write_leaves_the_old_files(tmp_path: Path) -> None:
    write(FIRST, tmp_path)
    before = tree(tmp_path)
    asked = iter([None, KeyboardInterrupt])

    def pressed() -> None:
        if error := next(asked):
            raise error

    with pytest.raises(KeyboardInterrupt):
        write({"a.sh": File("new\n"), "artifacts/deep/b.txt": File("newer\n")}, tmp_path, go_on=pressed)

    assert tree(tmp_path) == before
    assert next(asked, None) is None


def test_hundreds_of_files_come_into_new_folders_and_old_ones(tmp_path: Path) -> None:
    first = {f"artifacts/node-{number}/launch.sh": File(f"{number}\n", executable=True) for number in range(260)}
    second = {
        path.replace("node-2", "other"): File(f"new {file.text}", executable=True) for path, file in first.items()
    }

    for files in (first, second):
        write(files, tmp_path)
        assert {path: (tmp_path / path).read_text() for path in files} == {p: file.text for p, file in files.items()}
        assert all(os.access(tmp_path / path, os.X_OK) for path in files)
        assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    assert not any("node-2" in path.name for path in tmp_path.rglob("*"))


def test_every_verb_is_documented() -> None:
    page = (Path(__file__).parent.parent / "docs" / "artifacts.md").read_text(encoding="utf-8")

    assert [verb for verb in Verb if f"`{verb.value}`" not in page] == []
