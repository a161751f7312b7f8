"""What both builds do: plans, and the commands that people wait for without one."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.solver.shapes import SHAPES
from benchmarks.speed_ratio.measure import Work

LIBRARIES = Work("the libraries alone", ("-c", "import pydantic, yaml, click"))
"""What a command line that reads YAML and checks it cannot do without."""

_TYPO = """\
name: typo
gpu: {name: RTX 3090, count: 2}
roles:
  coder: {task: code, models: [qwen3-8b], contxt: 16k, concurrency: {min: 2, target: 4}}
  chat: {task: chat, context: 8k, concurrency: {min: 2, target: 8}}
"""


_SMALL = """\
name: small
gpu: {name: RTX 3090}
roles:
  coder: {task: code, models: [qwen3-8b], context: 4k, concurrency: {min: 1, target: 2}}
"""


def small(folder: Path) -> Path:
    """Write a fleet that is planned at once, and return its file."""
    path = folder / "small.yaml"
    path.write_text(_SMALL, encoding="utf-8")
    return path


def plan(fleet: Path, *, forgets: bool = False) -> Work:
    """Plan a fleet as ``planner solve --dry-run --json`` does."""
    arguments = ("-P", "-m", "planner", "solve", str(fleet.resolve()), "--dry-run", "--fresh", "--json")
    return Work(fleet.stem + (", first time" if forgets else ""), arguments, forgets)


def commands(folder: Path) -> Iterator[Work]:
    """Yield what answers without a plan: an estimate, and a fleet with a misspelt key."""
    yield Work("estimate", ("-P", "-m", "planner", "estimate", "Qwen3-8B", "--gpu", "RTX 3090"))
    typo = folder / "typo.yaml"
    typo.write_text(_TYPO, encoding="utf-8")
    yield Work("a misspelt key", ("-P", "-m", "planner", "solve", str(typo)))


def shapes() -> Sequence[Work]:
    """Return the fleets of ``benchmarks.solver --shapes``."""
    return [Work(name, ("-m", "benchmarks.solver", "--one", name, "1")) for name in SHAPES]
