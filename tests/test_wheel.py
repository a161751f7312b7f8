"""What a user installs: the wheel and what it says it needs, and nothing else, plan an example."""

import subprocess
import sys
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "deepseek-33b-and-mistral-7b"


def needed(names: list[str]) -> dict[str, Distribution]:
    """Return the installed distributions that these requirements ask for, and what those ask for in turn."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(name) for name in names]
    while waiting:
        item = waiting.pop()
        if item.name in found or (item.marker and not item.marker.evaluate({"extra": ""})):
            continue
        found[item.name] = distribution(item.name)
        waiting += [Requirement(name) for name in found[item.name].requires or ()]
    return found


def linked(item: Distribution, site: Path) -> None:
    """Show one installed distribution in another environment, without copying it."""
    for top in {file.parts[0] for file in item.files or () if file.parts[0] not in ("..", "__pycache__")}:
        if not (site / top).exists():
            (site / top).symlink_to(Path(str(item.locate_file(top))))


@pytest.mark.slow
def test_the_wheel_plans_an_example_with_nothing_but_what_it_needs(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    install = [sys.executable, "-m", "pip", f"--python={python}", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, str(wheel)], check=True)
    (site,) = (tmp_path / "env" / "lib").glob("*/site-packages")
    (installed,) = Distribution.discover(name="planner", path=[str(site)])
    for item in needed(installed.requires or []).values():
        linked(item, site)
    assert not list(Distribution.discover(name="pytest", path=[str(site)]))  # what only the tests need is not there
    fleet = tmp_path / "fleet.yaml"
    fleet.write_bytes((EXAMPLE / "fleet.yaml").read_bytes())

    subprocess.run([python.with_name("planner"), "solve", fleet], check=True, cwd=tmp_path, capture_output=True)

    assert (tmp_path / "plan.yaml").read_text() == (EXAMPLE / "plan.yaml").read_text()
