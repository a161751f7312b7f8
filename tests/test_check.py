"""The checker accepts what the solver makes and refuses everything that was tampered with."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
from fleets import PAIR, catalog, changed, fleet
from msgspec.structs import replace
from solving import pair, violations

from planner.check import check, require
from planner.errors import CheckFailed
from planner.fleet import Fleet
from planner.plan import Plan, ServerPlan, Stage
from planner.solve import solve


def tampered(name: str, **values: Any) -> Plan:  # noqa: ANN401 - any field of ServerPlan
    """Return the plan with fields of one server changed."""
    return with_server(name, lambda server: replace(server, **values))


def with_server(name: str, change: Callable[[ServerPlan], ServerPlan]) -> Plan:
    servers = tuple(change(server) if server.name == name else server for server in pair().servers)
    return replace(pair(), servers=servers)


def test_a_solved_plan_passes() -> None:
    assert violations(pair()) == ""
    require(pair(), fleet(PAIR), catalog())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("repository", "nobody/nothing", "is not among the variants"),
        ("repository", "solidrust/Mistral-7B-Instruct-v0.3-AWQ", "scheme is"),
        ("request_tokens", 0, "counts concurrency at another length"),
        ("tensor_parallel_size", 0, "tensor_parallel_size is 0"),
        ("max_num_seqs", -3, "takes -3 requests at once"),
        ("kv_cache_memory_bytes", -3, "promises"),
        ("scheme", "fp8-of-another-kind", "scheme is 'fp8-of-another-kind'"),
        ("port", 8000, "listens on port 8000, which is the router's"),
        ("port", 80, "listens on port 80, which is"),
        ("port", 8001, "two servers on pair listen on 8001"),
        ("max_model_len", 4096, "outside what the role and model allow"),
        ("max_model_len", 1 << 20, "outside what the role and model allow"),
        ("max_num_seqs", 1, "of the 4 required"),
        ("max_num_seqs", 500, "the KV cache does not hold every request it lets in"),
        ("max_num_batched_tokens", 3, "batch of 3 tokens is too small"),
        ("kv_cache_memory_bytes", 1 << 30, "promises"),
        ("kv_cache_dtype", "fp7", "is none that plans use"),
        ("kv_cache_tokens", 1, "the engine will log"),
        ("concurrency_full_context", 99, "promises 99 requests of full context"),
        ("request_tokens", 12, "counts concurrency at another length"),
        ("output_tokens", 12, "another length of the answer"),
        ("gpu_memory_utilization", 0.99, "asks for"),
        ("gpu_memory_utilization", 0.9999, "does not start"),
        ("pooling", True, "pooling is True"),
        ("trust_remote_code", True, "trust_remote_code is True"),
        ("revision", "main", "revision is 'main'"),
        ("tensor_parallel_size", 2, "tensor_parallel_size is 2"),
    ],
)
def test_a_changed_server_is_refused(field: str, value: object, message: str) -> None:
    found = violations(tampered("general", **{field: value}))

    assert found
    assert message in found


@pytest.mark.parametrize(
    "term",
    ["baseline_bytes", "weights_bytes", "kv_cache_bytes", "activation_bytes", "non_torch_bytes", "cuda_graph_bytes",
     "margin_bytes"],
)  # fmt: skip
def test_a_ledger_one_byte_off_is_refused(term: str) -> None:
    ledger = pair().server("coder").ledger
    lighter = replace(ledger, **{term: getattr(ledger, term) - 1})

    found = violations(tampered("coder", ledger=lighter))

    assert (
        f"the ledger is wrong: {term} {getattr(ledger, term) - 1}, recomputed {getattr(ledger, term)}\n" in f"{found}\n"
    )
    assert "the ledger does not add up" in found


def test_a_better_accuracy_than_published_is_refused() -> None:
    claimed = replace(pair().server("coder").accuracy, score=10_000)

    published = pair().server("coder").accuracy.score
    assert f"the accuracy is wrong: score 10000, recomputed {published}" in violations(
        tampered("coder", accuracy=claimed)
    )


def test_a_value_of_the_objective_that_is_not_so_is_refused() -> None:
    stages = tuple(replace(stage, value=stage.value + 1) for stage in pair().proof.stages)
    proof = replace(pair().proof, stages=stages)

    found = violations(replace(pair(), proof=proof))

    for name in ("balanced", "context", "batched tokens", "accuracy below a point"):
        assert f"stage {name}" in found


@functools.cache
def maximised(objective: str | tuple[str, ...]) -> tuple[Fleet, Plan]:
    """Return a fleet of two priced GPUs with this objective, and its plan."""
    document = {
        "name": "pair",
        "gpu": {"name": "L40S", "count": 2, "price_per_hour": 1.5},
        "objective": list(objective) if isinstance(objective, tuple) else objective,
        "roles": {
            "coder": {
                "task": "general",
                "models": ["mistral-7b-instruct-v0.3"],
                "context": {"min": "4k", "wish": "8k"},
                "concurrency": {"min": 1, "target": 6},
                "weight": 2,
            },
            "small": {"task": "general", "models": ["Qwen2.5-1.5B-Instruct"], "context": "4k", "replicas": 2},
        },
    }
    read = fleet(document)
    answer = solve(read, catalog())
    assert isinstance(answer, Plan)
    return read, answer


def with_stages(found: Plan, change: Callable[[Stage], Stage | None]) -> Plan:
    changed_ones = tuple(one for stage in found.proof.stages if (one := change(stage)))
    return replace(found, proof=replace(found.proof, stages=changed_ones))


@pytest.mark.parametrize(
    "objective", ["balanced", "accuracy", "concurrency", "cost", "minimal-change", ("concurrency", "cost", "accuracy")]
)
def test_every_stage_is_recomputed(objective: str | tuple[str, ...]) -> None:
    """Whatever a stage says, one byte or one millionth more is refused, and so is a stage that is left out."""
    read, found = maximised(objective)

    assert [str(violation) for violation in check(found, read, catalog())] == []
    for name in (stage.name for stage in found.proof.stages):
        for step in (-1, 1):
            forged = with_stages(
                found,
                lambda stage, name=name, step=step: (  # type: ignore[misc]
                    replace(stage, value=stage.value + step, bound=stage.bound + step) if stage.name == name else stage
                ),
            )
            wrong = [str(violation) for violation in check(forged, read, catalog())]
            assert [text for text in wrong if text.startswith(f"stage {name}: has the value")], name
        without = with_stages(found, lambda stage, name=name: None if stage.name == name else stage)  # type: ignore[misc]
        assert [text for text in map(str, check(without, read, catalog())) if text.startswith("stages: are")]


def test_a_stage_that_is_not_known_is_refused() -> None:
    other = Stage(name="first token", value=123456789, bound=123456789, proven=True)
    forged = replace(pair(), proof=replace(pair().proof, stages=(other, *pair().proof.stages)))

    assert "stage first token: is none that can be recomputed" in violations(forged)


def test_what_is_above_its_bound_or_not_equal_to_it_is_not_proven() -> None:
    above = with_stages(pair(), lambda stage: replace(stage, bound=stage.bound - 1))
    below = with_stages(pair(), lambda stage: replace(stage, bound=stage.bound + 1))
    unproven = with_stages(pair(), lambda stage: replace(stage, proven=False))

    assert "above the bound of" in violations(above)
    assert "stage balanced: is not proven" in violations(below)
    assert violations(unproven) == "proof: says proven, which not every stage is"


def test_servers_on_a_gpu_the_fleet_lacks_are_refused() -> None:
    assert "GPU 1 of pair is not in the fleet" in violations(tampered("coder", gpu_indices=(1,)))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("name", "another", "made for the fleet pair"),
        ("engine.version", "0.32.0", "not for the fleet's engine"),
        (
            "roles.third",
            {"task": "chat", "context": "8k", "models": "mistral-7b-instruct-v0.3"},
            "third: has no server",
        ),
        ("roles.general", None, "general: is not a role of the fleet"),
        ("roles.coder.context.min", "16k", ""),
        ("roles.coder.accuracy.recovery", 100, "its recovery is below the floor"),
        ("roles.coder.accuracy.score", 60, "its score is below the floor"),
        ("roles.coder.concurrency.min", 16, ""),
        ("gpu.memory_in_use", "20GiB", "are not those of the fleet, with its memory in use"),
        ("gpu.name", "h100-sxm-80gb", "are not those of the fleet, with its memory in use"),
    ],
)
def test_a_plan_for_another_fleet_is_refused(path: str, value: object, message: str) -> None:
    found = violations(pair(), changed(PAIR, path, value))

    assert message in found
    assert found if message else True


def test_a_role_has_the_port_that_its_fleet_gives() -> None:
    assert violations(pair(), changed(PAIR, "roles.coder.port", 9000)) == "coder: no server listens on port 9000"


def test_a_failed_check_says_everything_at_once() -> None:
    with pytest.raises(CheckFailed) as error:
        require(tampered("coder", port=1, revision="main"), fleet(PAIR), catalog())

    assert "listens on port 1, which is" in str(error.value)
    assert "revision is 'main'" in str(error.value)


def test_an_order_that_forgets_a_server_is_refused() -> None:
    forgotten = replace(pair(), start_order=pair().start_order[:1])

    assert "start order: does not name every server once" in violations(forgotten)
