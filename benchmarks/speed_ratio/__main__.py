"""Compare two builds: `python -m benchmarks.speed_ratio OLD [--pairs N] [--shapes] [--page] [FLEET.yaml ...]`.

``OLD`` is a checkout of an older commit. Both builds do the same work in turns, each time in a new process, so that
whatever else the machine does meets both; their modules are compiled by a small plan before. The medians of the
ratios, this build to the older one, are printed with the value of the first objective that each build reached. Values
do not depend on the machine. This build plans a fleet twice: without anything that is kept between runs
(``PLANNER_NO_CACHE``), and as somebody does who planned it before. ``estimate`` and a misspelt key stand beside the
libraries alone too. ``--page`` writes docs/performance.md with all of it, and with how time grows.
"""

import argparse
import datetime
import statistics
import subprocess
import tempfile
from pathlib import Path

from benchmarks.speed_ratio.growth import growth
from benchmarks.speed_ratio.measure import Build, Run, Work, reached, run
from benchmarks.speed_ratio.page import Row, page
from benchmarks.speed_ratio.works import LIBRARIES, commands, plan, shapes, small

HERE = Path(__file__).resolve().parents[2]
PAGE = HERE / "docs" / "performance.md"
OFTEN = 15
"""Pairs of what takes less than a second, whose ratios are noisier."""


def main() -> None:
    """Print one line for each piece of work."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed_ratio", description=__doc__)
    parser.add_argument("old", type=Path, metavar="OLD", help="checkout of an older commit")
    parser.add_argument("fleets", type=Path, nargs="*", metavar="FLEET.yaml")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--shapes", action="store_true", help="also the fleets of benchmarks.solver --shapes")
    parser.add_argument("--page", action="store_true", help="write docs/performance.md")
    arguments = parser.parse_intermixed_args()
    commit = _commit(arguments.old) if arguments.page else ""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        old = _ready(Build(arguments.old.resolve(), folder / "old"), folder)
        new = _ready(Build(HERE, folder / "new"), folder)
        print(f"{'work':<28}{'old CPU s':>10}{'new CPU s':>10}{'CPU':>7}{'wall':>7}  old value, new value")
        rows = [row for fleet in arguments.fleets for row in _plans(old, new, fleet, arguments.pairs)]
        for work in shapes() if arguments.shapes else ():
            rows += _compared(old, new, work, [work], arguments.pairs)
        often = max(arguments.pairs, OFTEN)
        for work in commands(folder):
            for build in (old, new):
                run(build, work)  # compiles what a plan does not need
            rows += _compared(old, new, work, [work], often)
        alone = _cpu([run(new, LIBRARIES) for _ in range(often)])
        print(f"{LIBRARIES.name:<28}{'':>10}{alone:>10.2f}")
        if arguments.page:
            also = " --shapes" if arguments.shapes else ""
            fleets = " ".join(fleet.name for fleet in arguments.fleets)
            text = page(
                rows,
                alone,
                growth(new, folder),
                command=f"python -m benchmarks.speed_ratio OLD --pairs {arguments.pairs}{also} --page {fleets}",
                commit=commit,
                today=datetime.date.today().isoformat(),
                pairs=f"{arguments.pairs} of each, {often} of what takes less than a second",
            )
            PAGE.write_text(text, encoding="utf-8")


def _plans(old: Build, new: Build, fleet: Path, pairs: int) -> list[Row]:
    """Compare the plans of a fleet: of somebody who never planned it, and of somebody who did."""
    first, again = plan(fleet, forgets=True), plan(fleet)
    run(new, again)
    return _compared(old, new, again, [first, again], pairs)


def _compared(old: Build, new: Build, work: Work, ours: list[Work], pairs: int) -> list[Row]:
    """Print and return the rows of what the new build does beside some work of the old one."""
    found = [(run(old, work), [run(new, own) for own in ours]) for _ in range(pairs)]
    rows = []
    for place, own in enumerate(ours):
        before, after = [pair[0] for pair in found], [pair[1][place] for pair in found]
        row = Row(
            name=own.name,
            old=_cpu(before),
            new=_cpu(after),
            cpu=statistics.median(b.cpu / a.cpu for a, b in zip(before, after, strict=True)),
            wall=statistics.median(b.wall / a.wall for a, b in zip(before, after, strict=True)),
            values=", ".join(filter(None, (reached(before[0].printed), reached(after[0].printed)))),
        )
        print(
            f"{row.name:<28}{row.old:>10.2f}{row.new:>10.2f}{row.cpu:>7.2f}{row.wall:>7.2f}  {row.values}", flush=True
        )
        rows.append(row)
    return rows


def _ready(build: Build, folder: Path) -> Build:
    """Plan a small fleet, so that all modules that a plan needs are compiled."""
    run(build, plan(small(folder)))
    return build


def _commit(checkout: Path) -> str:
    """Return the commit of a checkout, shortened."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _cpu(runs: list[Run]) -> float:
    return statistics.median(one.cpu for one in runs)


if __name__ == "__main__":
    main()
