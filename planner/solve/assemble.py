"""Answer -> Plan: exact ledgers, the order of starting, and the utilization each server must be given."""

import importlib.metadata
import math
from collections.abc import Sequence
from dataclasses import dataclass

from planner.fleet import POOLING_TASKS, Fleet, Role
from planner.memory.demand import Ledger, ledger, with_sequences
from planner.memory.estimate import Server, terms
from planner.options import Option, Prepared
from planner.plan import GPULedger, Plan, Proof, ServerPlan, Stage
from planner.solve.problem import Answer
from planner.solve.stages import SEED

_STEPS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided for one role: an option, its sequences, the position of its GPU in the fleet."""

    role: Role
    option: Option
    sequences: int
    gpu: int

    @property
    def server(self) -> Server:
        """The server with its sequences and KV cache filled in."""
        cache = self.option.demand.kv_cache_bytes(self.sequences)
        return with_sequences(self.option.server, self.sequences, cache)


def decisions(prepared: Prepared, answer: Answer) -> tuple[Decision, ...]:
    """Return the choices of an answer with the options they mean."""
    return tuple(
        Decision(
            role=found.role,
            option=found.options[choice.candidate],
            sequences=choice.sequences,
            gpu=choice.blocks[0].first,
        )
        for found, choice in zip(prepared.roles, answer.choices, strict=True)
        if choice
    )


def assemble(fleet: Fleet, prepared: Prepared, answer: Answer, budget: int) -> Plan:
    """Return the plan of an answer, without what binds and without a runner-up."""
    decided = decisions(prepared, answer)
    ledgers = {d.role.name: ledger(d.server, prepared.gpu, prepared.profile) for d in decided}
    order = tuple(sorted(ledgers, key=lambda name: (-ledgers[name].total_bytes, name)))
    return Plan(
        fleet=fleet.name,
        engine=fleet.engine,
        engine_version=prepared.profile.version,
        engine_known=prepared.profile.exact,
        objective=fleet.objective,
        servers=tuple(_server_plan(fleet, prepared, d, ledgers[d.role.name]) for d in decided),
        start_order=order,
        gpus=tuple(_gpu(fleet, decided, ledgers, position) for position in range(fleet.gpu_count)),
        proof=_proof(answer, budget),
        bindings=(),
        runner_up=None,
    )


def utilization(total_bytes: int, allowed_bytes: int) -> float:
    """Return the largest utilization, in ten-thousandths, whose share of the GPU is at most ``allowed_bytes``.

    The engine refuses to start when less than ``ceil(total × utilization)`` is free (v1/worker/utils.py:request_memory,
    0.11 to 0.33), computed in floating point as here.
    """
    steps = _STEPS
    count = allowed_bytes * steps // total_bytes
    while count > 1 and math.ceil(total_bytes * (count / steps)) > allowed_bytes:
        count -= 1
    return count / steps


def plan_stages(answer: Answer) -> tuple[Stage, ...]:
    """Return the stages of an answer as a plan shows them."""
    return tuple(Stage(name=s.name, value=s.value, bound=s.bound, proven=s.proven) for s in answer.stages)


def _server_plan(fleet: Fleet, prepared: Prepared, decision: Decision, exact: Ledger) -> ServerPlan:
    role, option, server = decision.role, decision.option, decision.server
    stage = terms(server, prepared.gpu, prepared.profile)
    length, batch = option.max_model_len, option.max_num_batched_tokens
    blocks = stage.layout.blocks(exact.kv_cache_bytes)
    usable = max(0, blocks - 1)

    def concurrency(tokens: int) -> int:
        per_request = stage.layout.blocks_per_request(tokens, batch)
        return min(decision.sequences, usable // per_request) if per_request else decision.sequences

    return ServerPlan(
        name=role.name,
        role=role.name,
        task=role.task,
        model=option.model.name,
        repository=option.variant.path or option.variant.repository,
        revision=option.variant.revision,
        local=bool(option.variant.path),
        download_bytes=option.variant.published_bytes or exact.weights_bytes,
        scheme=option.variant.scheme,
        dtype=server.flags.dtype,
        kv_cache_dtype=option.kv_cache_dtype,
        max_model_len=length,
        max_num_seqs=decision.sequences,
        max_num_batched_tokens=batch,
        tensor_parallel_size=1,
        gpu_indices=(fleet.gpu_index + decision.gpu,),
        port=role.port,
        gpu_memory_utilization=utilization(prepared.gpu.memory_bytes, exact.total_bytes - exact.baseline_bytes),
        kv_cache_memory_bytes=exact.kv_cache_bytes,
        kv_cache_tokens=stage.layout.tokens_logged(blocks, length, batch),
        request_tokens=option.request_tokens,
        concurrency_request=concurrency(option.request_tokens),
        concurrency_full_context=concurrency(length),
        accuracy=option.accuracy,
        pooling=role.task in POOLING_TASKS,
        trust_remote_code=role.trust_remote_code,
        tool_parser=option.model.tool_parser,
        reasoning_parser=option.model.reasoning_parser,
        ledger=exact,
    )


def _gpu(fleet: Fleet, decided: Sequence[Decision], ledgers: dict[str, Ledger], position: int) -> GPULedger:
    names = tuple(d.role.name for d in decided if d.gpu == position)
    taken = sum(ledgers[name].total_bytes for name in names)
    return GPULedger(
        index=fleet.gpu_index + position,
        gpu=fleet.gpu.name,
        product=fleet.gpu.product,
        total_bytes=fleet.gpu.memory_bytes,
        memory_in_use_bytes=fleet.memory_in_use_bytes,
        servers=names,
        free_bytes=fleet.gpu.memory_bytes - fleet.memory_in_use_bytes - taken,
    )


def _proof(answer: Answer, budget: int) -> Proof:
    stages = plan_stages(answer)
    return Proof(
        proven=all(stage.proven for stage in stages),
        stages=stages,
        solver="ortools cp-sat",
        solver_version=importlib.metadata.version("ortools"),
        seed=SEED,
        budget=budget,
        model_sha256=answer.model_sha256,
    )
