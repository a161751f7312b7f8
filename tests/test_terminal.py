"""The terminal: its width and colours, what is said there, and that nothing of an answer is lost or shown elsewhere."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import click
import plans
import pytest
from commands import invoke

from planner.cli import main
from planner.cli.colour import painted, shown
from planner.cli.plan_text import plan_text
from planner.cli.terminal import colours
from planner.cli.text import table

ESTIMATE = ["estimate", "Qwen/Qwen3-32B-FP8", "--gpu", "h100-sxm-80gb", "--max-model-len", "8192"]
VARIABLES = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "CLICOLOR", "TERM")
LOG = "ERROR 01-01 00:00:00 x.py:1] ValueError: No available memory for the cache blocks.\n"


def on_a_terminal(width: int, *arguments: str) -> str:
    """What a command writes to a terminal of so many columns."""
    master, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in (*VARIABLES, "COLUMNS")}
    process = subprocess.Popen(
        [sys.executable, "-m", "planner", *arguments], stdout=end, stderr=end, env={**environment, "TERM": "xterm"}
    )
    os.close(end)
    written = b"".join(read(master))
    assert process.wait() == 0
    return written.decode().replace("\r\n", "\n")


def read(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            yield os.read(terminal, 65536)
        except OSError:  # the other end is closed
            os.close(terminal)
            return


def test_a_narrow_terminal_gets_every_word_in_colour_and_a_file_gets_neither() -> None:
    there, elsewhere = on_a_terminal(60, *ESTIMATE), invoke(*ESTIMATE).stdout

    assert re.search(r"\x1b\[32m\s+starts", there)
    assert "\x1b" not in elsewhere
    assert max(map(len, elsewhere.splitlines())) > 60
    assert max(map(len, click.unstyle(there).splitlines())) <= 60
    assert click.unstyle(there).split() == elsewhere.split()


@pytest.mark.parametrize("width", [40, 60, 100])
def test_a_plan_fits_the_terminal_and_loses_nothing(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plans.two_roles()
    words = set(plan_text(plan).split())
    monkeypatch.setenv("COLUMNS", str(width))
    text = shown(plan_text(plan))

    assert words <= set(text.replace(":", " ").split()) | set(text.split())
    too_long = [line for line in text.splitlines()[1:] if len(line) > width]
    assert all(len(line.split()) == 1 for line in too_long), too_long


def test_a_table_that_is_too_wide_turns_before_it_becomes_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    header, rows = ("role", "context", "requests"), [("coder", "16k", "8"), ("chat", "8k", "")]
    wide = "role   context  requests\ncoder  16k             8\nchat   8k"
    turned = "role      coder  chat\ncontext     16k    8k\nrequests      8"
    blocks = "role: coder\n  context   16k\n  requests  8\n\nrole: chat\n  context   8k"

    assert table(header, rows, frozenset({2})) == wide
    for columns, text in ((24, wide), (23, turned), (20, blocks)):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert table(header, rows, frozenset({2})) == text


@pytest.mark.parametrize(
    ("choice", "environment", "shown"),
    [
        (None, {}, None),
        (None, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (None, {"NO_COLOR": "", "CLICOLOR_FORCE": "1"}, True),
        (None, {"FORCE_COLOR": "0"}, None),
        (None, {"CLICOLOR": "0"}, False),
        (None, {"TERM": "dumb"}, False),
        ("always", {"NO_COLOR": "1"}, True),
        ("never", {"FORCE_COLOR": "1"}, False),
        ("auto", {"NO_COLOR": "1"}, False),
    ],
)
def test_who_decides_about_colours(
    choice: str | None, environment: dict[str, str], shown: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert colours(choice) is shown


def test_options_of_the_program_stand_before_or_behind_the_command(tmp_path: Path) -> None:
    log = tmp_path / "vllm.log"
    log.write_text(LOG, encoding="utf-8")
    plain = invoke("diagnose", str(log)).output

    for arguments in (["--color", "always", "diagnose", str(log)], ["diagnose", str(log), "--color", "always"]):
        coloured = invoke(*arguments).output
        assert click.unstyle(coloured) == plain != coloured
    assert invoke("-q", "diagnose", str(log), "-v").exit_code == 0
    assert invoke("-V").output == invoke("--version").output


def test_colour_takes_no_letter_away() -> None:
    text = plan_text(plans.two_roles())
    with click.Context(main, color=True):
        coloured = painted(text)

    assert click.unstyle(coloured) == text
    assert set(re.findall(r"\x1b\[(\d+)m", coloured)) >= {"32", "1"}
