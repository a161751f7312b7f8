"""The engine's answers beside the planner's: equal, or unequal for a reason that is written down."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.engine_oracle.answers import answer
from benchmarks.engine_oracle.cases import FOLDER

_TOLERANCE = 1e-9  # of a ratio of two integers, computed in different orders


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One case: bytes on rank 0 by both, how many cache plans agree, and why not all do.

    ``ranks`` are those of tensor parallelism, ``data_ranks`` those of data parallelism, which share out whole experts
    with ``expert_parallel``. ``verdict``: ``equal``, ``refused by both``, ``engine cannot build it``, ``unequal``.
    ``reason`` is empty where nothing is to be explained; an unequal case without a reason is a bug.
    """

    architecture: str
    model: str
    ranks: int
    data_ranks: int
    expert_parallel: bool
    engine_bytes: int
    planner_bytes: int
    cache_plans: int
    cache_plans_equal: int
    verdict: str
    reason: str

    @property
    def unexplained(self) -> bool:
        """Whether the two differ for no known reason."""
        return not self.reason and self.verdict not in ("equal", "refused by both")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One cache plan by both."""

    model: str
    ranks: int
    kv_cache_dtype: str
    max_model_len: int
    max_num_batched_tokens: int
    engine_blocks: int
    planner_blocks: int
    engine_concurrency: float
    planner_concurrency: float


def compare(
    answers: Iterable[dict[str, Any]], asked_cases: Iterable[dict[str, Any]]
) -> tuple[list[Result], list[Plan]]:
    """Return a result per answered case and a row per cache plan."""
    asked = {case["id"]: case for case in asked_cases}
    reasons = read_reasons()
    results, plans = [], []
    for theirs in answers:
        case = asked.get(theirs["id"])
        if case is None:
            continue
        ours = answer(case)
        pairs = list(zip(theirs.get("kv", ()), ours.get("kv", ()), strict=False))
        results.append(_result(case, theirs, ours, sum(same_plan(*pair) for pair in pairs), reasons))
        plans += [_plan(case, *pair) for pair in pairs if "blocks" in pair[0]]
    return results, plans


def same_plan(theirs: dict[str, Any], ours: dict[str, Any]) -> bool:
    """Return whether two cache plans agree in blocks, groups and concurrency."""
    return bool(
        "blocks" in theirs
        and theirs["blocks"] == ours["blocks"]
        and sorted(theirs["groups"]) == sorted(ours["groups"])
        and abs(theirs["max_concurrency"] - ours["max_concurrency"]) <= _TOLERANCE * ours["max_concurrency"]
    )


def same_weights(theirs: dict[str, Any], ours: dict[str, Any]) -> bool:
    """Return whether two answers agree on parameters and rotary tables, to the byte."""
    return all(theirs[name] == ours[name] for name in ("parameter_bytes", "rotary_bytes"))


def read_reasons() -> list[dict[str, str]]:
    """Return the known reasons for differing: architecture, from how many ranks on, what it excuses, why."""
    with (FOLDER / "reasons.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _result(
    case: dict[str, Any], theirs: dict[str, Any], ours: dict[str, Any], equal: int, reasons: list[dict[str, str]]
) -> Result:
    architecture, ranks = case["config"]["architectures"][0], int(case["tensor_parallel_size"])
    verdict = _verdict(theirs, ours, equal)
    excused = {"engine cannot build it": "build", "unequal": "figures"}.get(verdict, "")
    found = (
        row["reason"]
        for row in reasons
        if row["architecture"] == architecture and ranks >= int(row["from_ranks"]) and row["excuses"] == excused
    )
    return Result(
        architecture=architecture,
        model=case["id"].split("|")[0],
        ranks=ranks,
        data_ranks=int(case.get("data_parallel_size", 1)),
        expert_parallel=bool(case.get("expert_parallel")),
        engine_bytes=theirs.get("parameter_bytes", 0) + theirs.get("rotary_bytes", 0),
        planner_bytes=ours.get("parameter_bytes", 0) + ours.get("rotary_bytes", 0),
        cache_plans=len(theirs.get("kv", ())),
        cache_plans_equal=equal,
        verdict=verdict,
        reason=next(found, ""),
    )


def _verdict(theirs: dict[str, Any], ours: dict[str, Any], equal: int) -> str:
    if "error" in theirs:
        return "refused by both" if "refused" in ours else "engine cannot build it"
    if "refused" in ours:
        return "unequal"
    return "equal" if same_weights(theirs, ours) and equal == len(theirs["kv"]) else "unequal"


def _plan(case: dict[str, Any], theirs: dict[str, Any], ours: dict[str, Any]) -> Plan:
    return Plan(
        model=case["id"].split("|")[0],
        ranks=int(case["tensor_parallel_size"]),
        kv_cache_dtype=theirs["kv_cache_dtype"],
        max_model_len=theirs["max_model_len"],
        max_num_batched_tokens=theirs["max_num_batched_tokens"],
        engine_blocks=theirs["blocks"],
        planner_blocks=ours["blocks"],
        engine_concurrency=round(theirs["max_concurrency"], 6),
        planner_concurrency=round(ours["max_concurrency"], 6),
    )


def write(results: Sequence[Result], plans: Sequence[Plan]) -> None:
    """Write both tables beside this file."""
    _table(FOLDER / "results.csv", Result, results)
    _table(FOLDER / "cache-plans.csv", Plan, plans)


def write_table(results: Sequence[Result], name: str) -> None:
    """Write the table of further classes, or that of layouts, which has no file of its cache plans."""
    _table(FOLDER / name, Result, results)


def _table(path: Path, kind: type[Result] | type[Plan], rows: Sequence[Result] | Sequence[Plan]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(kind)], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(row) for row in rows)


def summary(results: Sequence[Result]) -> str:
    """Return the verdicts counted, then every case that is not equal."""
    counts = Counter(result.verdict for result in results)
    lines = [f"{count:5} {verdict}" for verdict, count in sorted(counts.items())]
    plans, equal = sum(r.cache_plans for r in results), sum(r.cache_plans_equal for r in results)
    lines.append(f"{equal} of {plans} cache plans equal; {len({r.architecture for r in results})} architectures")
    for result in results:
        if result.verdict in ("unequal", "engine cannot build it"):
            difference = result.planner_bytes - result.engine_bytes
            plans_text = f"{result.cache_plans_equal}/{result.cache_plans} plans"
            why = result.reason or "NO REASON"
            layout = f"tp{result.ranks} dp{result.data_ranks}{' ep' * result.expert_parallel}"
            lines.append(f"{result.verdict}: {result.model} {layout} {difference:+d} B, {plans_text}: {why}")
    return "\n".join(lines)
