"""Plans made by hand for tests of artifacts: the facts of a plan without a solver."""

from collections import defaultdict
from typing import Any

from msgspec.structs import replace

from planner.engine.switching import Span
from planner.facts.accuracy import Accuracy
from planner.fleet import TimeShare
from planner.plan import Asleep, GPUGroup, GPULedger, Ledger, Lock, Plan, Proof, ServerPlan, ServerSpeed, awake_sets
from planner.speed.forecast import Range
from planner.units import GIB

TOTAL_BYTES = 95 * GIB
NAMELESS = Accuracy(
    scale="none", score=None, score_floor=None, recovery_median=None, recovery_floor=None, label="unknown", source="",
    score_source="",
)  # fmt: skip


def server(name: str, **changes: Any) -> ServerPlan:  # noqa: ANN401 - any field of ServerPlan
    """Return a small server on GPU 0 with the given fields changed."""
    ledger = Ledger(
        baseline_bytes=GIB // 2,
        weights_bytes=15 * GIB,
        kv_cache_bytes=8 * GIB,
        activation_bytes=GIB,
        non_torch_bytes=GIB // 4,
        cuda_graph_bytes=GIB // 2,
        margin_bytes=GIB,
    )
    plain = ServerPlan(
        name=name,
        role=name,
        task="code",
        model="qwen2.5-coder-7b",
        repository="Qwen/Qwen2.5-Coder-7B-Instruct",
        revision="c03e6d358207e414f1eca0bb1891e29f1db0e242",
        local=False,
        download_bytes=15 * GIB,
        scheme="bf16",
        dtype="bfloat16",
        kv_cache_dtype="auto",
        max_model_len=16384,
        max_num_seqs=8,
        max_num_batched_tokens=8192,
        tensor_parallel_size=1,
        gpu_indices=(0,),
        port=8001,
        gpu_memory_utilization=0.2765,
        kv_cache_memory_bytes=8 * GIB,
        kv_cache_tokens=149792,
        request_tokens=16384,
        output_tokens=2048,
        concurrency_request=9,
        concurrency_full_context=9,
        accuracy=NAMELESS,
        pooling=False,
        trust_remote_code=False,
        tool_parser="",
        reasoning_parser="",
        ledger=ledger,
    )
    return replace(plain, **changes)


def plan(*servers: ServerPlan, **changes: Any) -> Plan:  # noqa: ANN401 - any field of Plan
    """Return a plan of these servers, started in the order given."""
    there: dict[tuple[str, int], list[ServerPlan]] = defaultdict(list)
    for item in servers:
        for place in item.gpus:
            there[place].append(item)
    gpus = tuple(
        GPULedger(
            node=node,
            index=index,
            gpu="rtx-pro-6000",
            product="NVIDIA RTX PRO 6000 Blackwell Server Edition",
            total_bytes=TOTAL_BYTES,
            memory_in_use_bytes=0,
            servers=tuple(item.name for item in those),
            free_bytes=TOTAL_BYTES - sum(item.ledger.total_bytes for item in those),
        )
        for (node, index), those in sorted(there.items(), key=lambda found: found[0])
    )
    proof = Proof(proven=True, stages=(), solver="cp-sat", solver_version="", seed=0, budget=0, model_sha256="")
    lock = Lock(planner_version="0.1.0", fleet_sha256="", catalog_sha256="", engine_profile_sha256="")
    plain = Plan(
        fleet="workstation",
        engine="vllm",
        engine_version="0.33.0",
        engine_known=True,
        objective=("balanced",),
        servers=tuple(sorted(servers, key=lambda item: item.name)),
        start_order=tuple(item.name for item in servers),
        gpus=gpus,
        proof=proof,
        lock=lock,
        bindings=(),
        runner_up=None,
    )
    return replace(plain, **changes)


def two_roles() -> Plan:
    """Two servers on one GPU, the coder first."""
    general = server("general", task="general", repository="Qwen/Qwen2.5-7B-Instruct", revision="", port=8002)
    return plan(server("coder"), general)


def many_roles() -> Plan:
    """Two GPUs: one server over both, an embedder on the first, two replicas of one role apart."""
    return plan(
        server("big", tensor_parallel_size=2, gpu_indices=(0, 1), kv_cache_dtype="fp8"),
        server("embed", gpu_indices=(0,), port=8002, pooling=True, kv_cache_memory_bytes=0, kv_cache_tokens=0),
        server("chat-1", role="chat", gpu_indices=(0,), port=8003, tool_parser="hermes", reasoning_parser="qwen3"),
        server("chat-2", role="chat", gpu_indices=(1,), port=8004, tool_parser="hermes", reasoning_parser="qwen3"),
    )


def two_nodes() -> Plan:
    """Two nodes of two GPUs: one server in two stages, one on each node, and a small one beside its second stage."""
    large = server(
        "large", tensor_parallel_size=2, pipeline_parallel_size=2, node="box-1", gpu_indices=(0, 1), master_port=29501,
        later_stages=(GPUGroup(node="box-2", gpu_indices=(0, 1)),),
    )  # fmt: skip
    return plan(large, server("small", node="box-2", gpu_indices=(0,), port=8002))


SPEED = ServerSpeed(
    busy_permille=1000,
    reason=None,
    grade="measured",
    tpot_us=Range(value=9_000, low=7_500, high=11_250),
    ttft_us=Range(value=300_000, low=150_000, high=600_000),
    output_millitokens_per_second=Range(value=800_000, low=640_000, high=960_000),
)


def fast() -> Plan:
    """A server whose speed the plan states, beside one of which it says nothing."""
    return plan(server("coder", speed=SPEED), server("general", task="general", port=8002))


def beside() -> Plan:
    """Two servers on one GPU whose speed the plan states as a bound."""
    speed = replace(SPEED, busy_permille=2000)
    general = server("general", task="general", repository="Qwen/Qwen2.5-7B-Instruct", port=8002, speed=speed)
    return plan(server("coder", speed=speed), general)


def in_turns(how: str = "stop") -> Plan:
    """One GPU: an embedder that is always there, and a writer and a painter of two replicas that take turns."""
    gpu_bytes, host_bytes = (2 * GIB, 17 * GIB) if how == "sleep" else (2 * GIB if how == "sleep-2" else 0, 0)
    passing = Asleep(
        how=how,
        gpu_bytes=gpu_bytes,
        host_bytes=host_bytes,
        leave=Span(low_ms=500, high_ms=4000),
        enter=Span(low_ms=600, high_ms=9000),
    )
    servers = (
        server("writer", task="general", port=8001, asleep=passing),
        server("embed", port=8002, pooling=True, kv_cache_memory_bytes=0, kv_cache_tokens=0, task="embedding"),
        server("painter-1", role="painter", port=8003, asleep=passing),
        server("painter-2", role="painter", port=8004, asleep=passing),
    )
    groups = (TimeShare(roles=("painter", "writer")),)
    return plan(*servers, time_share=groups, awake_sets=awake_sets(groups, ["embed", "painter", "writer"]))
