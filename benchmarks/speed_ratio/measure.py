"""A build, a piece of work, and what one process that does it takes."""

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Build:
    """A checkout, with a folder of its own for compiled modules and for what the planner keeps between runs."""

    checkout: Path
    folder: Path

    def environment(self, *, forgets: bool) -> dict[str, str]:
        """Return the environment of its processes; one that ``forgets`` keeps nothing between runs."""
        own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        own |= {"PYTHONPATH": str(self.checkout.resolve()), "PYTHONPYCACHEPREFIX": str(self.folder / "modules")}
        own |= {"XDG_CACHE_HOME": str(self.folder / "cache"), "PLANNER_CACHE": str(self.folder / "cache")}
        return own | ({"PLANNER_NO_CACHE": "1"} if forgets else {})


@dataclass(frozen=True, slots=True)
class Work:
    """Something to run: the ``arguments`` of Python; ``forgets`` is that of ``Build.environment``."""

    name: str
    arguments: tuple[str, ...]
    forgets: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """What one process took, in seconds, and what it printed."""

    cpu: float
    wall: float
    printed: str


def run(build: Build, work: Work) -> Run:
    """Do some work with a build in a new process, in the build's folder."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    found = subprocess.run(
        [sys.executable, *work.arguments],
        env=build.environment(forgets=work.forgets),
        cwd=build.checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(cpu=cpu, wall=wall, printed=found.stdout)


def reached(printed: str) -> str:
    """Return the first objective of a plan that was printed as JSON, or of a line of ``benchmarks.solver``."""
    try:
        plan = json.loads(printed)
    except json.JSONDecodeError:
        return ""
    if "value" in plan:
        return str(plan["value"])
    if "proof" not in plan:
        return ""
    first = plan["proof"]["stages"][0]
    return f"{first['name']} {first['value']}" + ("" if first["proven"] else f" of {first['bound']}")
