"""What binds a plan, and what the next best combination of variants would have cost."""

from collections.abc import Iterator

from planner.explain.words import accuracy, less, listed, more, stage_value
from planner.plan import Binding, Plan, RunnerUp, RunnerUpServer
from planner.units import format_tokens

_SATISFIED = {"concurrency": "the requests asked for", "context": "the context wished for"}


def reasons(plan: Plan) -> str:
    """Return two blocks of lines: what keeps each role from more, and the runner-up."""
    lines = ["What binds:", *(f"  {line}" for line in _bindings(plan))]
    if plan.runner_up:
        lines += ["", "Next best combination of variants:", *(f"  {line}" for line in _runner_up(plan, plan.runner_up))]
    return "\n".join(lines)


def _bindings(plan: Plan) -> Iterator[str]:
    for name in dict.fromkeys(binding.role for binding in plan.bindings):
        own = [binding for binding in plan.bindings if binding.role == name]
        reached = [_SATISFIED[binding.what] for binding in own if binding.limit == "wish"]
        if reached:
            yield f"{name} has {listed(reached)}"
        for binding in own:
            if sentence := _sentence(binding):
                yield f"{name}: {sentence}"


def _sentence(binding: Binding) -> str:
    """Say what stops the next step; nothing where the fleet or the engine asks for no more."""
    if binding.limit == "model":
        return f"the model reads no more than {_tokens(binding.now)}"
    if binding.limit == "memory":
        return f"{_step(binding)} would take {more(binding.needed_bytes)} more; {less(binding.free_bytes)} are free"
    if binding.limit == "objective":
        return f"{_step(binding)} would fit, but costs more elsewhere than it gains"
    return ""


def _step(binding: Binding) -> str:
    if binding.what == "concurrency":
        return f"{binding.next} requests at once instead of {binding.now}"
    if binding.what == "context":
        return f"a context of {_tokens(binding.next)} instead of {_tokens(binding.now)}"
    if binding.what == "batched tokens":
        return f"batches of {binding.next} tokens instead of {binding.now}"
    return f"{binding.next}, which is more accurate,"


def _tokens(text: str) -> str:
    return f"{format_tokens(int(text))} tokens"


def _runner_up(plan: Plan, other: RunnerUp) -> Iterator[str]:
    chosen = {server.role: server.repository for server in plan.servers}
    for server in other.servers:
        marker = "" if server.repository == chosen[server.role] else " (changed)"
        yield f"{server.role}{marker}: {_server(server)}"
    for here, there in zip(plan.proof.stages, other.stages, strict=True):
        if here.value != there.value:
            loss = f"{stage_value(there.name, there.value)} instead of {stage_value(here.name, here.value)}"
            yield f"worse first in {here.name}: {loss}"
            return
    yield "equal in everything that is maximised; the order of names decided"


def _server(server: RunnerUpServer) -> str:
    limits = f"{format_tokens(server.max_model_len)} × {server.max_num_seqs}, KV cache {server.kv_cache_dtype}"
    return f"{server.repository}, {limits}; {accuracy(server.accuracy)}"
