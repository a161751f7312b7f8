"""Commands in a process of their own, forked from one that has imported what they need before they were typed.

A command that asks a hub cannot run in the tests' own process: ``huggingface_hub`` reads its environment once, when it
is imported. A new interpreter for each would spend most of its time importing.
"""

import atexit
import functools
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

_SERVER = """
import json, os, sys
import huggingface_hub.hf_api, planner.cli.catalog_add, planner.cli.comparing, planner.cli.estimate, planner.cli.solving
import planner.cli.solving, planner.solve.scenarios
from planner.cli import main

for name in [name for name in sys.modules if name.split(".")[0] == "huggingface_hub"]:
    del sys.modules[name]  # a command imports it with its own environment
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child == 0:
        os.environ.clear()
        os.environ.update(asked["environment"])
        for number, path in ((0, os.devnull), (1, asked["out"]), (2, asked["err"])):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), number)
        sys.stdin = open(0, closefd=False)
        sys.argv = ["planner", *asked["arguments"]]
        try:
            main(prog_name="planner")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass
class Run:
    """What a command returned and printed."""

    code: int
    out: str
    err: str


def forked(*arguments: str, environment: dict[str, str]) -> Run:
    """Run a command with nothing but this environment."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        asked = {"arguments": arguments, "environment": environment, "out": str(out), "err": str(err)}
        server = _server()
        assert server.stdin and server.stdout
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return Run(code, out.read_text("utf-8"), err.read_text("utf-8"))


@functools.cache
def _server() -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def stop() -> None:
        started.communicate()  # closes its input, which ends it

    atexit.register(stop)
    return started
