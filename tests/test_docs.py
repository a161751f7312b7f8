"""Docs that cannot lie: every ``console`` block in the README and docs/ is what the command prints.

A block below a comment that names a file, such as ``<!-- examples/coder-alone/output.txt: 1, 3 -->``, is that file, or
those of its paragraphs.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from planner.cli import main

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
QUOTE = re.compile(r"(<!-- (\S+?)(?:: ([\d, ]+))? -->\n```\w*\n)(.*?)```", re.DOTALL)
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if BLOCK.search(page.read_text()) or QUOTE.search(page.read_text())
]


def printed(command: str) -> str:
    """What ``$ planner …`` prints on stdout, run in the root of the checkout."""
    program, *arguments = shlex.split(command)
    assert program == "planner", f"console blocks run planner, not {program}"
    result = CliRunner().invoke(main, arguments, prog_name="planner")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.stdout


def replayed(block: str) -> str:
    """A block with each command's output made anew; a line ``…`` in a block ends the part that is shown."""
    commands = [line for line in block.splitlines() if line.startswith("$ ")]
    shown = re.split(r"^\$ .*\n", block, flags=re.MULTILINE)[1:]
    parts = []
    for command, old in zip(commands, shown, strict=True):
        lines = printed(command.removeprefix("$ ")).rstrip("\n").splitlines()
        if old.rstrip("\n").endswith("…"):
            lines = [*lines[: len(old.rstrip("\n").splitlines()) - 1], "…"]
        parts.append("\n".join([command, *lines]) + "\n")
    return "".join(parts)


def quoted(match: re.Match[str]) -> str:
    """A block that quotes a file, with what the file says now, but for what only editors read."""
    text = re.sub(r"^# yaml-language-server:.*\n", "", (ROOT / match[2]).read_text(), flags=re.MULTILINE)
    if match[3]:
        paragraphs = text.rstrip("\n").split("\n\n")
        text = "\n\n".join(paragraphs[int(number) - 1] for number in match[3].split(",")) + "\n"
    return f"{match[1]}{text}```"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_console_blocks_are_what_the_commands_print(
    page: Path, update_golden: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    text = page.read_text()
    made_anew = QUOTE.sub(quoted, BLOCK.sub(lambda match: f"```console\n{replayed(match[1])}```", text))
    if update_golden:
        page.write_text(made_anew)
        return

    assert made_anew == text


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "AGENTS.md"])
def test_links_out_of_pages_beside_the_docs_lead_to_files(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text())

    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_is_short_and_shows_a_report() -> None:
    text = (ROOT / "README.md").read_text()

    assert len(text.splitlines()) < 200
    assert "](docs/report.png)" in text
    assert (ROOT / "docs/report.png").stat().st_size < 150_000


def test_the_site_has_every_page_and_no_link_that_leads_nowhere(tmp_path: Path) -> None:
    """As .ci/build-site does it, but for writing the pages."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "dummy", "docs", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert (built.returncode, built.stderr) == (0, "")


def test_the_fleet_of_the_tutorial_is_what_init_writes() -> None:
    text = (ROOT / "docs/tutorial.md").read_text()
    (command,) = re.findall(r"`planner init (--gpu [^`]*)`", text)
    written = yaml.safe_load(printed(f"planner init - {command}"))
    shown = yaml.safe_load((ROOT / "docs/fleets/first.yaml").read_text())

    assert (shown["name"], shown["gpu"]) == (written["name"], written["gpu"]["name"])
    assert {**written["roles"]["assistant"], **shown["roles"]["assistant"]} == written["roles"]["assistant"]


def test_the_scripts_that_pages_run_are_rendered() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/tutorial.md").read_text(), re.DOTALL)
    scripts = re.findall(r"^\./(\S+)", "".join(blocks), re.MULTILINE)

    assert set(scripts) >= {"download.sh", "launch.sh", "smoke.sh"}
    assert [name for name in scripts if not (ROOT / "examples/coder-alone/artifacts" / name).exists()] == []
