"""One command in a process of its own, for a server: its JSON, or its error as data, and how far it is.

The first line of standard input says which command, with which words, and in which folders model folders may be read;
when the input ends, so does the process, with all that it started. Standard output gets lines of JSON: ``progress``
any number of times, then once ``exit_code`` with the ``document`` that the command prints, an error's too. What is said
beside goes to standard error.
"""

import contextlib
import io
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import click

from planner import checkpoint
from planner.cli import main as planner
from planner.cli import shared
from planner.cli.exit_codes import EXIT_ERROR


def main() -> None:
    """Run the command that standard input names."""
    wire = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints is not part of an answer
    request = json.loads(_line())
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    checkpoint.confine([Path(root) for root in request["roots"]])
    shared.listeners.append(_Changes(wire).hear)
    _write(wire, _run(request["words"]))


class _Changes:
    """Writes how far the work is where that is not what was written last."""

    def __init__(self, wire: int) -> None:
        self._wire, self._last = wire, ""

    def hear(self, text: str) -> None:
        if text != self._last:
            self._last = text
            _write(self._wire, {"progress": text})


def _run(words: list[str]) -> dict[str, Any]:
    """Return what a command line prints as JSON, which an error is too, and its exit code."""
    printed = io.StringIO()
    code: object = EXIT_ERROR
    try:
        with contextlib.redirect_stdout(printed):
            code = planner.main(words, prog_name="planner", standalone_mode=False)
    except SystemExit as ended:
        code = ended.code
    except click.ClickException as error:
        code = error.exit_code
    return {"exit_code": code if isinstance(code, int) else 0, "document": json.loads(printed.getvalue() or "null")}


def _line() -> bytes:
    """Read the first line of standard input and no more: what is buffered would not be seen to end."""
    line = b""
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    return line


def _end_with_the_server() -> None:
    """End this process and those that it started when the server is gone, or wants no more."""
    while os.read(0, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _write(wire: int, data: dict[str, Any]) -> None:
    text = memoryview(json.dumps(data, ensure_ascii=False).encode() + b"\n")
    while text:
        text = text[os.write(wire, text) :]


if __name__ == "__main__":
    main()
