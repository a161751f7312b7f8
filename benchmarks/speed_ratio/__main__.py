"""Compare two builds: `python -m benchmarks.speed_ratio OLD [--pairs N] [--shapes] [FLEET.yaml ...]`.

``OLD`` is a checkout of an older commit. Both builds do the same work in turns, each time in a new process, so that
whatever else the machine does meets both; their modules were compiled before, as an installer does. The medians of the
ratios, this build to the older one, are printed with the value of the first objective that each build reached. Values
do not depend on the machine. A fleet is planned twice: as by somebody who planned it before, and without anything that
is kept between runs (``PLANNER_NO_CACHE``). ``estimate`` and a misspelt key stand beside the libraries alone too.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.speed_ratio.measure import Build, Run, Work, reached, run
from benchmarks.speed_ratio.works import LIBRARIES, commands, plan, shapes

HERE = Path(__file__).resolve().parents[2]


def main() -> None:
    """Print one line for each piece of work."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed_ratio", description=__doc__)
    parser.add_argument("old", type=Path, metavar="OLD", help="checkout of an older commit")
    parser.add_argument("fleets", type=Path, nargs="*", metavar="FLEET.yaml")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--shapes", action="store_true", help="also the fleets of benchmarks.solver --shapes")
    arguments = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        builds = Build(arguments.old.resolve(), folder / "old"), Build(HERE, folder / "new")
        print(f"{'work':<24}{'old CPU s':>10}{'new CPU s':>10}{'CPU':>7}{'wall':>7}  old value, new value")
        for fleet in arguments.fleets:
            _compare(builds, plan(fleet), arguments.pairs)
            _compare(builds, plan(fleet, forgets=True), max(1, arguments.pairs // 2))
        for work in shapes() if arguments.shapes else ():
            _compare(builds, work, arguments.pairs)
        found = [(work.name, _compare(builds, work, arguments.pairs)) for work in commands(folder)]
        alone = _cpu([run(builds[1], LIBRARIES) for _ in range(arguments.pairs)])
        for what, new in found:
            print(f"{what}: {new / alone:.1f} times the libraries alone ({alone:.2f} s)")


def _compare(builds: tuple[Build, Build], work: Work, pairs: int) -> float:
    """Print the line of some work, and return the CPU seconds that the newer build takes."""
    for build in builds:
        run(build, work)  # modules are compiled, and what is kept between runs is there
    found = [(run(builds[0], work), run(builds[1], work)) for _ in range(pairs)]
    old, new = (_cpu([pair[side] for pair in found]) for side in (0, 1))
    cpu = statistics.median(one.cpu / other.cpu for other, one in found)
    wall = statistics.median(one.wall / other.wall for other, one in found)
    values = ", ".join(filter(None, (reached(one.printed) for one in found[0])))
    print(f"{work.name:<24}{old:>10.2f}{new:>10.2f}{cpu:>7.2f}{wall:>7.2f}  {values}", flush=True)
    return new


def _cpu(runs: list[Run]) -> float:
    return statistics.median(one.cpu for one in runs)


if __name__ == "__main__":
    main()
