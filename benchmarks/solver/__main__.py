"""Measure the solver: `python -m benchmarks.solver [--large] [--seeds N]`.

Every fleet is solved in a process of its own, so that times include imports and memory is its own. Times depend on the
machine; values, bounds and placements do not.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

SIZES = ((2, 200, 1), (6, 150, 8), (8, 300, 8), (50, 300, 64))
LARGE = (200, 500, 512)
HEAD = f"{'roles × options × GPUs':<24}{'seed':>5}{'seconds':>9}{'MiB':>6}{'gap':>9}{'of range':>10}  greedy"


def main() -> None:
    """Print one line per fleet, and what greedy lost on all of them."""
    arguments = _arguments()
    if arguments.one:
        print(json.dumps(_measure(*arguments.one)))
        return
    print(HEAD)
    sizes = (*SIZES, LARGE) if arguments.large else SIZES
    rows = [_fresh(*size, seed) for size in sizes for seed in range(1, arguments.seeds + 1)]
    worse = [row for row in rows if row["greedy"] < row["value"] or row["dropped"]]
    dropped = [row for row in rows if row["dropped"]]
    print(f"greedy drops a role in {len(dropped)} of {len(rows)} fleets and reaches less in {len(worse)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.solver", description=__doc__)
    parser.add_argument("--large", action="store_true", help="also 200 roles on 512 GPUs, a minute or two each")
    parser.add_argument("--seeds", type=int, default=3, help="fleets of each size")
    parser.add_argument("--one", type=int, nargs=4, metavar="N", help=argparse.SUPPRESS)
    return parser.parse_args()


def _fresh(roles: int, options: int, gpus: int, seed: int) -> dict[str, int]:
    """Measure one fleet in a new process and print its line."""
    command = [sys.executable, "-m", "benchmarks.solver", "--one", *map(str, (roles, options, gpus, seed))]
    begun = time.perf_counter()
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    row: dict[str, int] = json.loads(found.stdout)
    seconds = time.perf_counter() - begun - row["greedy_ms"] / 1000
    missing = row["bound"] - row["value"]
    gap = f"{100 * missing / row['bound']:.3f} %" if missing else "proven"
    share = f"{100 * missing / max(1, row['bound'] - row['floor']):.3f} %"
    lost = f"{100 * (row['value'] - row['greedy']) / row['value']:.2f} % less"
    lost += f", {row['dropped']} dropped" if row["dropped"] else ""
    print(
        f"{f'{roles} × {options} × {gpus}':<24}{seed:>5}{seconds:>9.2f}{row['mib']:>6}{gap:>9}{share:>10}  {lost}",
        flush=True,
    )
    return row


def _measure(roles: int, options: int, gpus: int, seed: int) -> dict[str, int]:
    from benchmarks.solver.fleets import fleet
    from benchmarks.solver.greedy import greedy
    from planner.solve.search import optimise

    problem, _ = fleet(roles, options, gpus, seed)
    answer = optimise(problem)
    assert answer is not None
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    begun = time.perf_counter()
    value, dropped = greedy(problem)
    return {
        "value": answer.stages[0].value,
        "bound": answer.stages[0].bound,
        "floor": sum(min(c.value(0, c.least) for c in role.candidates) for role in problem.roles),
        "greedy": value,
        "dropped": dropped,
        "greedy_ms": int(1000 * (time.perf_counter() - begun)),
        "mib": mib,
    }


if __name__ == "__main__":
    main()
