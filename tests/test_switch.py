"""One plan's files or the other's: with processes that write at once, and killed before every step of a write."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from planner.artifacts import File, write
from planner.artifacts.sums import SUMS, sums_file
from planner.artifacts.switch import alone
from planner.errors import OutputError

ONE = {
    "plan.yaml": File("one\n"),
    "artifacts/launch.sh": File("one\n", executable=True),
    "artifacts/both": File("the same\n"),
    "artifacts/systemd/one.service": File("one\n"),
    "artifacts/one/only": File("one\n"),
}
TWO = {
    "plan.yaml": File("two\n"),
    "artifacts/launch.sh": File("two\n", executable=True),
    "artifacts/both": File("the same\n"),
    "artifacts/systemd/two.service": File("two\n"),
    "artifacts/two/only": File("two\n"),
}
OWN = {"fleet.yaml": "a fleet\n", "artifacts/.env": "SECRET=1\n"}
"""What is in the folder besides, and stays."""

PROGRAM = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_switch import ONE, TWO, prepared
from planner.artifacts import write
"""
ALONE = """
import planner.artifacts.switch
planner.artifacts.switch.exchanges = lambda folder: False  # as where the file system cannot
"""
KILLS = """
steps = 0

def count(event, arguments, before):
    # Every change of the folder is announced here, whatever the function that makes it.
    global steps
    if event not in ("os.rename", "os.link", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "open"):
        return
    if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
        return
    if steps == before:
        os.kill(os.getpid(), signal.SIGKILL)
    steps += 1

status, step = signal.SIGKILL, 0
while status == signal.SIGKILL:
    folder = Path({folder!r}) / str(step)
    prepared(folder, {before})
    if not (child := os.fork()):
        sys.addaudithook(lambda event, arguments: count(event, arguments, step))
        write(TWO, folder)
        os._exit(0)
    status, step = os.waitpid(child, 0)[1], step + 1
assert status == 0
"""
AT_ONCE = """
for round in range(40):
    children = []
    for files in (ONE, TWO, ONE, TWO):
        if not (child := os.fork()):
            write(files, Path({folder!r}) / str(round), force=True)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0, 0]
"""


def run(program: str, folder: Path, before: str = "") -> None:
    text = (PROGRAM + program).format(tests=str(Path(__file__).parent), folder=str(folder), before=before)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def seen(folder: Path) -> dict[str, str]:
    """Return what a program finds that reads the files; what a switch makes for itself is none of them."""
    files = (Path(here, name) for here, _, names in os.walk(folder, followlinks=True) for name in names)
    return {
        name: path.read_text(encoding="utf-8")
        for path in files
        if path.is_file() and not (name := path.relative_to(folder).as_posix()).startswith(".planner-switch/")
        and not (name.endswith(".new") and path.name.startswith("."))
    }  # fmt: skip


def wanted(files: dict[str, File]) -> dict[str, str]:
    return {path: file.text for path, file in {**files, SUMS: sums_file(files)}.items()} | OWN


def prepared(folder: Path, files: dict[str, File]) -> None:
    if files:
        write(files, folder)
    for path, text in OWN.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def entries(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize(
    ("before", "exchanging"), [("ONE", True), ("{}", False)], ids=["a-plan-before", "no-plan-before-and-links-alone"]
)
def test_a_kill_at_any_step_leaves_one_plan(tmp_path: Path, before: str, exchanging: bool) -> None:
    run((ALONE if not exchanging else "") + KILLS, tmp_path, before)
    *killed, last = sorted(tmp_path.iterdir(), key=lambda folder: int(folder.name))
    old, new = wanted(ONE) if before == "ONE" else OWN, wanted(TWO)
    found = [seen(folder) for folder in killed]

    assert entries(last) == new.keys()
    assert found == [old] * found.count(old) + [new] * found.count(new)
    assert min(found.count(old), found.count(new)) > 20  # the kills came between the renames
    for folder in killed:
        assert os.access(folder / "artifacts" / "launch.sh", os.X_OK) or seen(folder) == OWN
        other = shutil.copytree(folder, tmp_path / "other" / folder.name, symlinks=True)
        for again, files in ((folder, TWO), (other, ONE)):  # whatever the next plan is
            write(files, again)
            assert seen(again) == wanted(files)
            assert entries(again) == wanted(files).keys()


def test_processes_that_write_at_once_leave_one_plan(tmp_path: Path) -> None:
    run(AT_ONCE, tmp_path)

    for folder in tmp_path.iterdir():
        assert seen(folder) | OWN in (wanted(ONE), wanted(TWO))
        assert entries(folder) | OWN.keys() in (wanted(ONE).keys(), wanted(TWO).keys())


def test_a_process_that_never_ends_its_turn_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.artifacts.switch._PATIENCE_SECONDS", 0)

    with alone(tmp_path), pytest.raises(OutputError, match="another planner has been writing here"):
        write(ONE, tmp_path)

    assert not any(tmp_path.iterdir())
    write(ONE, tmp_path)


def test_what_is_only_there_for_a_switch_is_not_taken_from_others(tmp_path: Path) -> None:
    """A folder of the switch's name that somebody made leads to no file that is not under way."""
    prepared(tmp_path, ONE)
    state = tmp_path / ".planner-switch"
    for side in ("old", "new"):
        (state / side / "artifacts").mkdir(parents=True)
        (state / side / "fleet.yaml").write_text("theirs\n", encoding="utf-8")
        (state / side / "artifacts" / ".env").write_text("theirs\n", encoding="utf-8")
    (state / "now").symlink_to("new")

    write(TWO, tmp_path)

    assert seen(tmp_path) == wanted(TWO)
