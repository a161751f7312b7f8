"""Start the process of one command, hear how far it is, and end it with all that it started."""

import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import ByteReceiveStream
from msgspec import Struct

from planner.errors import PlannerError

LONGEST_SECONDS = 1800
"""Of one call by the clock; the search of solve ends before by its own count."""
_MOST_BYTES = 64 << 20
_MOST_SAID = 1 << 20
_OF_TERMINALS = ("CLICOLOR_FORCE", "COLUMNS", "FORCE_COLOR")


class Ended(PlannerError):
    """The process of a command ended without an answer, or was ended because it took too long or printed too much."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)

    def __str__(self) -> str:
        return f"the command {self.reason}"


class Answer(Struct, frozen=True):
    """What the process wrote last: its exit code, what the command printed as JSON, and what it said beside."""

    code: int
    document: Any
    said: str


async def call(
    words: Sequence[str], roots: Sequence[Path], folder: str, told: Callable[[str], Awaitable[None]]
) -> Answer:
    """Run a command in a folder and return what it answered; ``told`` hears how far it is.

    When the caller is cancelled, so is the command.

    Raises:
        Ended: it ended without an answer.
    """
    request = json.dumps({"words": list(words), "roots": [str(root) for root in roots]})
    last: dict[str, Any] = {}
    with tempfile.TemporaryFile() as said, anyio.move_on_after(LONGEST_SECONDS) as time:
        async with _process(folder, said.fileno()) as process:
            assert process.stdin and process.stdout
            await process.stdin.send(request.encode() + b"\n")
            async for line in _lines(process.stdout):
                last = json.loads(line)
                if "progress" in last:
                    await told(last["progress"])
        said.seek(0)
        text = said.read(_MOST_SAID).decode("utf-8", "replace")
    if time.cancelled_caught:
        raise Ended(f"took longer than {LONGEST_SECONDS} seconds")
    if "exit_code" not in last:
        sys.stderr.write(text)
        raise Ended("ended without an answer")
    return Answer(last["exit_code"], last["document"], text)


@contextlib.asynccontextmanager
async def _process(folder: str, said: int) -> AsyncIterator[anyio.abc.Process]:
    # -P and PYTHONSAFEPATH: the folder may hold files of the client's, and none of them is a module.
    before = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join(str(Path(part).resolve()) for part in before.split(os.pathsep) if part)
    kept = {name: value for name, value in os.environ.items() if name not in _OF_TERMINALS}
    environment = {**kept, "NO_COLOR": "1", "PYTHONSAFEPATH": "1", "PYTHONPATH": path}
    process = await anyio.open_process(
        [sys.executable, "-P", "-m", "planner.cli.mcp.child"],
        cwd=folder, env=environment, stderr=said, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.aclose()


async def _lines(stream: ByteReceiveStream) -> AsyncIterator[bytes]:
    """Yield whole lines.

    Raises:
        Ended: there is no end of them.
    """
    rest, total = b"", 0
    async for chunk in stream:
        total += len(chunk)
        if total > _MOST_BYTES:
            raise Ended(f"printed more than {_MOST_BYTES >> 20} MiB")
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
