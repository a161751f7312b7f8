"""What a shell offers: commands, options and names, asked for as shells ask, quickly and without an error."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from fleets import catalog

from planner.cli import COMMANDS, main
from planner.cli.names import one_word

FLEET = "name: lab\ngpu: L4\nroles:\n  coder: {task: code, context: 8k}\n  chat: {task: chat, context: 8k}\n"
DEAR = ("ortools", "numpy", "pandas", "matplotlib", "pydantic", "jinja2", "planner.fleet.load")


def environment(line: str) -> dict[str, str]:
    """What click's script of bash says of a line whose last word is being typed."""
    return {
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
        "_PLANNER_COMPLETE": "bash_complete",
    }


def offered(line: str) -> list[str]:
    """What is offered for the last word of a line, which may be empty."""
    result = CliRunner(catch_exceptions=False, env=environment(line)).invoke(main, [], prog_name="planner")
    assert result.exit_code == 0
    return [one.partition(",")[2] for one in result.stdout.splitlines() if one]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.yaml").write_text(FLEET)
    return tmp_path


def test_commands_and_options() -> None:
    assert offered("planner ")[: len(COMMANDS)] == sorted(COMMANDS)
    assert offered("planner wh") == ["what-if"]
    assert set(offered("planner catalog ")) == {"add", "check", "list", "search", "show"}
    assert {"--out", "--json", "--check"} <= set(offered("planner solve --"))
    assert "accuracy" in offered("planner pareto --x ")


def test_gpus_are_one_word_each_which_the_catalog_finds() -> None:
    words = offered("planner estimate Qwen3-8B --gpu ")

    assert len(words) > 70
    assert all(" " not in word for word in words)
    assert {one_word(catalog().gpu(word).name) for word in words} == set(words)
    assert not any(catalog().gpu(word).refusal for word in words)
    assert "rtx-4090" in offered("planner what-if --gpu RTX-40")
    assert offered("planner init --gpu g6e.12") == ["g6e.12xlarge"]
    assert offered("planner catalog list --fits-on h200-") == offered("planner check x --gpu h200-") != []


def test_models_by_name_and_by_id() -> None:
    assert "Qwen3-8B" in offered("planner estimate qwen3-8")
    assert "Qwen/Qwen3-8B" in offered("planner init --model Qwen/Qwen3-8")
    assert all(catalog().find(name) for name in offered("planner catalog show Mistral-7"))


def test_roles_of_the_fleet_that_is_there(folder: Path) -> None:
    (folder / "other.yaml").write_text("roles: {reader: {}}\n")

    assert offered("planner explain fleet.yaml c") == ["chat", "coder"]
    assert offered("planner explain other.yaml ") == ["reader"]
    assert offered("planner explain absent.yaml ") == []
    (folder / "other.yaml").write_text("roles: [\n")
    assert offered("planner explain other.yaml ") == []


@pytest.mark.parametrize(
    "line",
    ["planner ", "planner what-if --gpu h10", "planner explain x "]
    + [
        f"planner {command} --"
        for command in ("diff", "init", "pareto", "render", "report", "solve", "verify", "what-if")
    ],
)
def test_no_solver_and_no_reader_of_fleets_is_loaded_for_it(line: str, folder: Path) -> None:
    program = (
        "import sys\nfrom planner.cli import main\nsys.argv = ['planner']\n"
        "try:\n    main(prog_name='planner')\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print([name for name in {DEAR!r} if name in sys.modules])\n"
        "print(sum(name.startswith('planner.') for name in sys.modules))"
    )
    known = {**os.environ, **environment(line)}
    done = subprocess.run([sys.executable, "-c", program], env=known, capture_output=True, text=True, check=True)
    *_, loaded, ours = done.stdout.splitlines()

    assert loaded == "[]"
    assert line != "planner " or int(ours) < 12


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_printed(shell: str) -> None:
    result = CliRunner(env={"_PLANNER_COMPLETE": f"{shell}_source"}).invoke(main, [], prog_name="planner")

    assert (result.exit_code, result.stderr) == (0, "")
    assert f"_PLANNER_COMPLETE={shell}_complete" in result.stdout


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_with_the_script(folder: Path) -> None:
    script = CliRunner(env={"_PLANNER_COMPLETE": "bash_source"}).invoke(main, [], prog_name="planner").stdout
    program = "import sys; sys.argv[0] = 'planner'; from planner.cli import main; main()"
    (folder / "planner").write_text(f'#!/bin/sh\nexec {sys.executable} -c "{program}"\n')
    (folder / "planner").chmod(0o755)
    (folder / "script").write_text(script)
    typed = "COMP_WORDS=(planner explain fleet.yaml co); COMP_CWORD=3; _planner_completion planner"
    done = subprocess.run(
        ["bash", "-c", f"source ./script; {typed}; echo ${{COMPREPLY[@]}}"],
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout == "coder\n"
