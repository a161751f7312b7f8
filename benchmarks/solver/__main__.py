"""Measure the solver: `python -m benchmarks.solver [--large] [--shapes] [--huge] [--seeds N]`.

Every fleet is solved in a process of its own, so that times include imports and memory is its own. Times depend on the
machine; values, bounds and placements do not.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.solver.shapes import HUGE, SHAPES

if TYPE_CHECKING:
    from planner.search.problem import Problem

SIZES = ((2, 200, 1), (6, 150, 8), (8, 300, 8), (50, 300, 64))
LARGE = (200, 500, 512)
HEAD = f"{'fleet':<18}{'seed':>5}{'seconds':>9}{'MiB':>6}{'gap':>10}{'of range':>10}  greedy"

Row = dict[str, Any]


def main() -> None:
    """Print one line per fleet, and what greedy lost on all of them."""
    arguments = _arguments()
    if arguments.one:
        name, seed = arguments.one
        solve = _huge if name == HUGE else _real if name in SHAPES else _random
        print(json.dumps(solve(name, int(seed))))
        return
    print(HEAD)
    sizes = [" × ".join(map(str, size)) for size in ((*SIZES, LARGE) if arguments.large else SIZES)]
    names = [HUGE] if arguments.huge else [*SHAPES] if arguments.shapes else sizes
    rows = [_fresh(name, seed) for name in names for seed in range(1, arguments.seeds + 1)]
    if arguments.huge:
        return
    worse = [row for row in rows if row["greedy"] < row["value"] or row["dropped"]]
    dropped = [row for row in rows if row["dropped"]]
    fewer = [row for row in rows if row["fewer"]]
    print(f"greedy drops a role in {len(dropped)} of {len(rows)} fleets and reaches less in {len(worse)}")
    if arguments.shapes:
        print(f"greedy serves fewer requests at once in {len(fewer)} of {len(rows)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.solver", description=__doc__)
    parser.add_argument("--large", action="store_true", help="also 200 roles on 512 GPUs, a minute or two each")
    parser.add_argument("--shapes", action="store_true", help="real nodes, and roles that all of the catalog may serve")
    parser.add_argument("--huge", action="store_true", help="a fleet of 10,000 GPUs instead, which greedy is not given")
    parser.add_argument("--seeds", type=int, default=3, help="fleets of each size")
    parser.add_argument("--one", nargs=2, metavar="N", help=argparse.SUPPRESS)
    return parser.parse_args()


def _fresh(name: str, seed: int) -> Row:
    """Measure one fleet in a new process and print its line."""
    command = [sys.executable, "-m", "benchmarks.solver", "--one", name, str(seed)]
    begun = time.perf_counter()
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    row: Row = json.loads(found.stdout)
    seconds = time.perf_counter() - begun - row["greedy_ms"] / 1000
    print(f"{name:<18}{seed:>5}{seconds:>9.2f}{row['mib']:>6}{_gap(row)}  {_lost(row)}", flush=True)
    return row


def _gap(row: Row) -> str:
    if row["value"] == row["floor"] == 0:
        return f"{'no plan':>10}{'':>10}"
    missing = row["bound"] - row["value"]
    gap = f"{100 * missing / row['bound']:.3f} %" if missing else "proven"
    return f"{gap:>10}{100 * missing / max(1, row['bound'] - row['floor']):>8.3f} %"


def _lost(row: Row) -> str:
    if not row["value"] or row["greedy"] is None:
        return ""
    lost = f"{100 * (row['value'] - row['greedy']) / row['value']:.2f} % less"
    lost += f", {row['dropped']} dropped" if row["dropped"] else ""
    return lost + (f", {row['fewer']} requests fewer" if row["fewer"] else "")


def _random(size: str, seed: int) -> Row:
    from benchmarks.solver.fleets import fleet
    from planner.search.optimise import optimise

    roles, options, gpus = map(int, size.split(" × "))
    problem, _ = fleet(roles, options, gpus, seed)
    answer = optimise(problem)
    assert answer is not None
    return _row(problem, answer.stages[0].value, answer.stages[0].bound, ())


def _huge(_: str, seed: int) -> Row:
    """Solve as ``planner solve`` does, with the independent check."""
    from benchmarks.solver.shapes import huge
    from planner.plan import Plan
    from planner.solve import solve_and_check

    plan = solve_and_check(huge(seed))
    assert isinstance(plan, Plan)
    first = plan.proof.stages[0]
    found = {"value": first.value, "bound": first.bound, "floor": 0, "greedy": None, "dropped": 0, "fewer": 0}
    return {**found, "greedy_ms": 0, "mib": _mib()}


def _real(shape: str, seed: int) -> Row:
    """Solve as ``planner solve`` does, with the runner-up and the independent check."""
    from benchmarks.solver.shapes import fleet
    from planner.catalog import load_catalog
    from planner.engine.profile import load_profile
    from planner.options import prepare
    from planner.options.problem import problem
    from planner.plan import NoPlan
    from planner.search.pieces import pieces
    from planner.solve import solve_and_check

    found = fleet(shape, seed)
    plan = solve_and_check(found)
    if isinstance(plan, NoPlan):
        return {
            "value": 0,
            "bound": 0,
            "floor": 0,
            "greedy": 0,
            "dropped": 0,
            "fewer": 0,
            "greedy_ms": 0,
            "mib": _mib(),
        }
    served: dict[str, int] = {}
    for server in plan.servers:
        served[server.role] = served.get(server.role, 0) + server.max_num_seqs
    requests = tuple(min(role.concurrency_target, served.get(role.name, 0)) for role in found.roles)
    peak, begun = _mib(), time.perf_counter()
    same = pieces(problem(found, prepare(found, load_catalog(), load_profile(found.engine_version)))).problem
    spent = int(1000 * (time.perf_counter() - begun))
    row = _row(same, plan.proof.stages[0].value, plan.proof.stages[0].bound, requests)
    return {**row, "greedy_ms": row["greedy_ms"] + spent, "mib": peak}


def _row(problem: "Problem", value: int, bound: int, requests: Sequence[int]) -> Row:
    """Return the figures of a plan beside greedy's; ``requests`` at once of every role, where they are known."""
    from benchmarks.solver.greedy import choices

    mib, begun = _mib(), time.perf_counter()
    chosen = choices(problem)
    fewer = sum(
        max(0, count - (chosen[index].most * chosen[index].blocks if index in chosen else 0))
        for index, count in enumerate(requests)
    )
    return {
        "value": value,
        "bound": bound,
        "floor": sum(min(c.value(0, c.least) for c in role.candidates) for role in problem.roles),
        "greedy": sum(candidate.value(0, candidate.most) for candidate in chosen.values()),
        "dropped": len(problem.roles) - len(chosen),
        "fewer": fewer,
        "greedy_ms": int(1000 * (time.perf_counter() - begun)),
        "mib": mib,
    }


def _mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
