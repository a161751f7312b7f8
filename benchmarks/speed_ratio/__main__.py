"""Compare two builds: `python -m benchmarks.speed_ratio OLD [--pairs N] FLEET.yaml ...`.

``OLD`` is a checkout of an older commit. Every fleet is planned by both builds in turns, each time in a new process, so
that whatever else the machine does meets both; the medians of the ratios, this build to the older one, are printed with
the value of the first objective that each build reached. Values do not depend on the machine.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Run:
    """What one process took, in seconds, and what it reached."""

    cpu: float
    wall: float
    value: str


def main() -> None:
    """Print one line per fleet."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed_ratio", description=__doc__)
    parser.add_argument("old", type=Path, metavar="OLD", help="checkout of an older commit")
    parser.add_argument("fleets", type=Path, nargs="+", metavar="FLEET.yaml")
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{'fleet':<20}{'old CPU s':>10}{'new CPU s':>10}{'CPU':>7}{'wall':>7}  old value, new value")
    for fleet in arguments.fleets:
        pairs = [(_run(arguments.old, fleet), _run(HERE, fleet)) for _ in range(arguments.pairs)]
        old, new = (statistics.median(pair[side].cpu for pair in pairs) for side in (0, 1))
        cpu = statistics.median(one.cpu / other.cpu for other, one in pairs)
        wall = statistics.median(one.wall / other.wall for other, one in pairs)
        values = f"{pairs[0][0].value}, {pairs[0][1].value}"
        print(f"{fleet.stem:<20}{old:>10.2f}{new:>10.2f}{cpu:>7.2f}{wall:>7.2f}  {values}", flush=True)


def _run(build: Path, fleet: Path) -> Run:
    """Plan a fleet with a build as ``planner solve --dry-run --json`` does."""
    command = [sys.executable, "-P", "-m", "planner", "solve", str(fleet), "--dry-run", "--fresh", "--json"]
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    found = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(build.resolve())}, capture_output=True, text=True, check=False
    )
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(cpu=cpu, wall=wall, value=_value(found.stdout))


def _value(printed: str) -> str:
    try:
        first = json.loads(printed)["proof"]["stages"][0]
    except (json.JSONDecodeError, KeyError, IndexError):
        return "none"
    return f"{first['name']} {first['value']}" + ("" if first["proven"] else f" of {first['bound']}")


if __name__ == "__main__":
    main()
