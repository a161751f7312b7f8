"""What a user installs: the wheel alone, in an environment of its own, plans an example."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "deepseek-33b-and-mistral-7b"


@pytest.mark.slow
def test_the_wheel_plans_an_example_in_a_clean_environment(tmp_path: Path) -> None:
    build: list[str | Path] = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        tmp_path / "dist",
        ROOT,
    ]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    venv.create(tmp_path / "env", with_pip=True)
    programs = tmp_path / "env" / "bin"
    subprocess.run([programs / "python", "-m", "pip", "install", "--quiet", wheel], check=True)
    fleet = tmp_path / "fleet.yaml"
    fleet.write_bytes((EXAMPLE / "fleet.yaml").read_bytes())

    subprocess.run([programs / "planner", "solve", fleet], check=True, cwd=tmp_path, capture_output=True)

    assert (tmp_path / "plan.yaml").read_text() == (EXAMPLE / "plan.yaml").read_text()
