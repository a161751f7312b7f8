"""The examples are the golden suite: solving each again gives the committed plan, artifacts and text, byte for byte."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.cli import main

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted(path.parent.relative_to(ROOT) for path in (ROOT / "examples").glob("*/fleet.yaml"))
GENERATED = ("plan.yaml", "output.txt", "artifacts")


def tree(folder: Path) -> dict[str, tuple[str, bool]]:
    """Text and executable bit of every generated file of an example, by path."""
    paths = [path for name in GENERATED for path in ((folder / name).rglob("*"), [folder / name])]
    files = sorted({path for group in paths for path in group if path.is_file()})
    return {
        str(path.relative_to(folder)): (path.read_text(encoding="utf-8"), bool(path.stat().st_mode & 0o100))
        for path in files
    }


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_solved_to_the_committed_bytes(
    example: Path, update_golden: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    out = example if update_golden else tmp_path
    force = ["--force"] if update_golden else []
    arguments = ["solve", str(example / "fleet.yaml"), "--out", str(out), "--fresh", *force]

    result = CliRunner().invoke(main, arguments, prog_name="planner")

    (out / "output.txt").write_text(f"{result.stdout}exit code {result.exit_code}\n", encoding="utf-8")
    assert tree(out) == tree(example), "see what changed with: pytest tests/test_examples.py --update-golden; git diff"
