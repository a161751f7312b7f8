"""Compare the planner with brute force: ``python -m benchmarks.second_opinion plans``, or another kind of fleets.

Prints every disagreement, with the fleet that shows it reduced to what it takes, and exits with 1 if there is one.
"""

import argparse
import copy
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.second_opinion.brute import Brute, TooMany
from benchmarks.second_opinion.fleets import Document, across, before, fleet, near, paced, tight, turning
from benchmarks.second_opinion.hints import false_hints, not_minimal
from benchmarks.second_opinion.next_best import wrong_close_calls, wrong_runner_up
from benchmarks.second_opinion.ways import KEPT
from planner.catalog import Catalog, load_catalog
from planner.check import check
from planner.engine.profile import load_profile
from planner.errors import InputError
from planner.fleet import Fleet, load_fleet
from planner.options import prepare
from planner.options.problem import problem
from planner.plan import NoPlan, Plan
from planner.search.optimise import optimise
from planner.solve.alternatives import with_runner_up
from planner.solve.whole import Solved, planned, whole

SOLVER_BUDGET = 60
COMBINATIONS = 3_000_000
NEEDED = ("task", "models", "schemes", "context", "pipeline_parallel")
"""Keys that a role of these fleets always has: without them it would have hundreds of candidates."""
COUNTS = ("fleets", "refused", "without a plan", "after a plan", "in several pools", "with a next best",
          "close calls", "undecided", "disagree")  # fmt: skip
Differ = Callable[[Document, Document | None, Catalog, dict[str, int]], str]
"""What says how the planner and brute force differ about a fleet, and the one before it."""


def main() -> None:
    """Print what both say where they differ, and how many fleets were compared."""
    parser = argparse.ArgumentParser(description="A second opinion on small random fleets.")
    parser.add_argument("what", choices=tuple(_KINDS), nargs="?", default="plans")
    parser.add_argument("--seeds", nargs=2, type=int, default=(0, 200), metavar=("FROM", "TO"))
    arguments = parser.parse_args()
    catalog = load_catalog()
    counts = dict.fromkeys(COUNTS, 0)
    compare = _KINDS[arguments.what]
    for seed in range(*arguments.seeds):
        for text in compare(seed, catalog, counts):
            counts["disagree"] += 1
            print(f"seed {seed}: {text}", flush=True)
        if seed % 50 == 49:
            print(f"up to seed {seed}: {_line(counts)}", file=sys.stderr, flush=True)
    print(_line(counts))
    raise SystemExit(counts["disagree"] > 0)


def _line(counts: dict[str, int]) -> str:
    return ", ".join(f"{value} {name}" for name, value in counts.items())


def compare_plans(seed: int, catalog: Catalog, counts: dict[str, int]) -> Iterator[str]:
    """Yield how the planner and brute force differ about the fleet of a seed."""
    document = fleet(seed)
    old = before(seed, document) if seed % 2 or KEPT in document["objective"] else None
    yield from _compared(document, old, catalog, counts)


def compare_across(seed: int, catalog: Catalog, counts: dict[str, int]) -> Iterator[str]:
    """Yield the same about a fleet of a seed with servers of one role in several pools."""
    yield from _compared(across(seed), None, catalog, counts)


def compare_next(seed: int, catalog: Catalog, counts: dict[str, int]) -> Iterator[str]:
    """Yield how they differ about the next best plan and the close calls of the fleet of a seed."""
    yield from _compared(near(seed), None, catalog, counts, _next_disagreement)


def compare_speed(seed: int, catalog: Catalog, counts: dict[str, int]) -> Iterator[str]:
    """Yield how they differ about a fleet of a seed whose objective or roles count speed, next best included."""
    yield from _compared(paced(seed), None, catalog, counts, _next_disagreement)


def compare_turns(seed: int, catalog: Catalog, counts: dict[str, int]) -> Iterator[str]:
    """Yield how they differ about a fleet of a seed with roles that take turns, next best included."""
    yield from _compared(turning(seed), None, catalog, counts, _next_disagreement)


def _compared(
    document: Document,
    old: Document | None,
    catalog: Catalog,
    counts: dict[str, int],
    differ: "Differ | None" = None,
) -> Iterator[str]:
    differ = differ or _disagreement
    try:
        _read(document, catalog)
    except InputError:
        counts["refused"] += 1
        return
    counts["fleets"] += 1
    try:
        said = differ(document, old, catalog, counts)
    except TooMany:
        counts["undecided"] += 1
        return
    if said:
        small = _reduced(document, lambda one: bool(differ(one, old, catalog, {})))
        yield f"{said}\n  fleet: {json.dumps(small)}\n  before: {json.dumps(old)}"


def compare_hints(seed: int, catalog: Catalog, counts: dict[str, int]) -> Iterator[str]:
    """Yield every hint of the tight fleet of a seed that does not help, and where its conflict is not minimal."""
    yield from _hinted(fleet(seed, tight=True), catalog, counts)


def compare_tight(seed: int, catalog: Catalog, counts: dict[str, int]) -> Iterator[str]:
    """Yield the same of a fleet with speeds, turns, pins of the engine or servers in several pools."""
    yield from _hinted(tight(seed), catalog, counts)


def _hinted(document: Document, catalog: Catalog, counts: dict[str, int]) -> Iterator[str]:
    try:
        answer = whole(_read(document, catalog), catalog, SOLVER_BUDGET)
    except InputError:
        counts["refused"] += 1
        return
    if not isinstance(answer, NoPlan):
        return
    counts["fleets"] += 1
    counts["without a plan"] += 1
    for wrong in (false_hints, not_minimal):
        for text in wrong(document, answer, lambda one: _solves(one, catalog)):
            yield f"{text}\n  fleet: {json.dumps(document)}"


def _disagreement(document: Document, old: Document | None, catalog: Catalog, counts: dict[str, int]) -> str:
    """Return how the planner and brute force differ, or nothing."""
    previous = _before(old, catalog)
    read = _read(document, catalog)
    plan = _plan(read, catalog, previous)
    expected = Brute(read, catalog, previous, COMBINATIONS).best()
    counts["after a plan"] = counts.get("after a plan", 0) + (previous is not None)
    counts["without a plan"] = counts.get("without a plan", 0) + (expected is None)
    several = plan is not None and any(len(plan.by_pool(role.name)) > 1 for role in read.roles)
    counts["in several pools"] = counts.get("in several pools", 0) + several
    if plan is None or expected is None:
        return "" if (plan is None) == (expected is None) else f"planner {'a' if plan else 'no'} plan, right {expected}"
    if wrong := check(plan, read, catalog):
        return f"check: {wrong[0]}"
    found = _values(plan, read, previous)
    if not plan.proof.proven:
        return f"not proven: {found}, right {expected}"
    return "" if found == expected else f"planner {found}, right {expected}"


def _next_disagreement(document: Document, old: Document | None, catalog: Catalog, counts: dict[str, int]) -> str:
    """Return how the planner and brute force differ about a plan, the next best one, or the close calls."""
    if said := _disagreement(document, old, catalog, counts):
        return said
    read = _read(document, catalog)
    found = _solved(read, catalog, None)
    if found is None:
        return ""
    plan = with_runner_up(read, catalog, found, SOLVER_BUDGET)
    counts["with a next best"] = counts.get("with a next best", 0) + (plan.runner_up is not None)
    counts["close calls"] = counts.get("close calls", 0) + len(plan.close_calls)
    wrong = (wrong_runner_up, wrong_close_calls)
    return next((text for one in wrong for text in one(plan, read, catalog, COMBINATIONS)), "")


def _values(plan: Plan, read: Fleet, previous: Plan | None) -> dict[str, int]:
    """Return the value of every stage of a plan, and how many servers stay as they were."""
    values = {stage.name: stage.value for stage in plan.proof.stages}
    if previous is None or KEPT not in read.objective:
        return values
    kept = (_servers(plan) & _servers(previous)).total()
    return {**values, KEPT: kept}


def _servers(plan: Plan) -> Counter[tuple[Any, ...]]:
    return Counter(
        (s.role, s.gpus, s.repository, s.kv_cache_dtype, s.max_model_len, s.max_num_batched_tokens, s.max_num_seqs)
        for s in plan.servers
    )


def _before(old: Document | None, catalog: Catalog) -> Plan | None:
    """Return the plan of the fleet as it was; None when there was none."""
    try:
        return _plan(_read(old, catalog), catalog, None) if old is not None else None
    except InputError:
        return None


def _plan(read: Fleet, catalog: Catalog, previous: Plan | None) -> Plan | None:
    """Return what the planner plans; unlike ``planner.solve`` it does not say why there is none, which takes longer."""
    found = _solved(read, catalog, previous)
    return found.plan if found else None


def _solved(read: Fleet, catalog: Catalog, previous: Plan | None) -> Solved | None:
    prepared = prepare(read, catalog, load_profile(read.engine_version))
    if not all(found.options or found.role.optional for found in prepared.roles):
        return None
    answer = optimise(problem(read, prepared), SOLVER_BUDGET)
    return planned(read, catalog, prepared, answer, SOLVER_BUDGET, previous) if answer else None


def _solves(document: Document, catalog: Catalog) -> bool:
    """Whether a fleet file is accepted and has a plan."""
    try:
        return _plan(_read(document, catalog), catalog, None) is not None
    except InputError:
        return False


def _read(document: Document, catalog: Catalog) -> Fleet:
    """Read a fleet as its file would be read.

    Raises:
        InputError: the file is refused.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.yaml"
        path.write_text(json.dumps(document), encoding="utf-8")
        return load_fleet(path, catalog)


def _reduced(document: Document, holds: Callable[[Document], bool]) -> Document:
    """Leave out keys of a fleet for as long as what it shows still holds."""
    small = copy.deepcopy(document)
    for path in [("roles", role) for role in document["roles"]] + [
        ("roles", role, key) for role, keys in document["roles"].items() for key in keys if key not in NEEDED
    ]:
        smaller = copy.deepcopy(small)
        here = smaller
        for key in path[:-1]:
            here = here.get(key, {})
        if here.pop(path[-1], None) is None:
            continue
        try:
            if holds(smaller):
                small = smaller
        except (InputError, TooMany, KeyError):
            continue
    return small


_KINDS = {
    "plans": compare_plans,
    "across": compare_across,
    "next": compare_next,
    "speed": compare_speed,
    "turns": compare_turns,
    "hints": compare_hints,
    "tight": compare_tight,
}

if __name__ == "__main__":
    main()
