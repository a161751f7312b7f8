"""The load tests of ``planner calibrate``: how what they teach is printed."""

from collections.abc import Iterator, Sequence
from typing import Any

from planner.adopt.calibrate_speed import Tested
from planner.catalog import Catalog
from planner.catalog.load_tests import LoadTest
from planner.catalog.measured import Measured
from planner.errors import PlannerError
from planner.plain_data import as_dict
from planner.speed.forecast import Range


def entry(seen: Measured | LoadTest) -> dict[str, Any]:
    """Return a start-up or a load test as the file of its GPU keeps it."""
    facts = {key: value for key, value in as_dict(seen).items() if value not in (None, "", {})}
    return {**facts, **({"flags": dict(seen.flags)} if seen.flags else {})}


def to_json(test: Tested) -> dict[str, Any]:
    """Return a load test under the keys ``planner calibrate --json`` prints."""
    paced = test.compared.paced if test.compared else None
    return {
        "result": test.result,
        "why_not": test.why_not or None,
        "measured": entry(test.test) if test.test else None,
        "expected": test.compared.expected.to_json() if test.compared else None,
        "tpot_permille": paced.tpot_permille if paced else None,
        "ttft_permille": paced.ttft_permille if paced else None,
        "output_permille": paced.output_permille if paced else None,
    }


def to_share(test: LoadTest, catalog: Catalog) -> dict[str, Any]:
    """Return a row that a person can contribute: the model's name only where the catalog publishes it."""
    try:
        model: str | None = catalog.find(test.model)[1].repository
    except PlannerError:
        model = None
    return {key: value for key, value in entry(test).items() if key != "source"} | {"model": model}


def told(tests: Sequence[Tested]) -> Iterator[str]:
    """Yield what load tests teach, line by line."""
    for one in tests:
        test, said = one.test, one.compared.expected if one.compared else None
        if one.why_not or not (test and said and said.tpot_us and said.ttft_us and said.output_millitokens_per_second):
            yield f"{one.result}: teaches nothing: {one.why_not}"
            continue
        load = f"{test.concurrency} at once" if test.concurrency else f"{test.requests_per_second:g} requests/s"
        lengths = f"{test.input_tokens} tokens in, {test.output_tokens} out"
        yield f"{one.result}: {test.model}, vllm {test.engine_version}, {load}, {lengths}"
        yield _line("per output token", test.tpot_ms, "ms", said.tpot_us)
        yield _line("first token", test.ttft_ms, "ms", said.ttft_us)
        yield _line("output", test.output_tokens_per_s, "tokens/s", said.output_millitokens_per_second)


def _line(name: str, measured: float, unit: str, own: Range) -> str:
    value, low, high = (f"{figure / 1000:,.1f}" for figure in (own.value, own.low, own.high))
    return f"  {name} {measured:,.1f} {unit}, {value} expected ({low} to {high})"
