"""What binds a plan, and what the next best combination of variants would have cost."""

from collections.abc import Iterator

from planner.explain.words import (
    COSTS,
    COUNTED,
    accuracy,
    has_unit,
    listed,
    percent,
    plural,
    stage_change,
    stage_share,
    stage_value,
)
from planner.facts.prior import ASSUMED
from planner.options.worth import counts_speed
from planner.plan import Binding, CloseCall, Plan, RunnerUp, RunnerUpServer, ServerPlan
from planner.units import format_apart, format_tokens

_SATISFIED = {"concurrency": "the requests asked for", "context": "the context wished for"}


def reasons(plan: Plan, *, alternatives: bool = True) -> str:
    """Return blocks of lines: what keeps each role from more, the ``alternatives``, and what was not looked at."""
    lines = ["What keeps each role from more:", *(f"  {line}" for line in binding_lines(plan))]
    if plan.runner_up and alternatives:
        others = (f"  {line}" for line in runner_up_lines(plan, plan.runner_up))
        lines += ["", "Next best combination of variants:", *others]
    if plan.close_calls and alternatives:
        lines += ["", "Close calls:", *(f"  {call.role}: {close_call(plan, call)}" for call in plan.close_calls)]
    if plan.proof.proven and plan.proof.interrupted:
        lines += ["", "The search for the next best combination of variants was interrupted."]
    unsearched = [f"  {line}" for line in unsearched_lines(plan)]
    if unsearched:
        lines += ["", "Not looked at, because the budget ran out (--time-limit gives more):", *unsearched]
    return "\n".join(lines)


def unsearched_lines(plan: Plan) -> Iterator[str]:
    """Say what there was no time to look at, roles alike together, and which keys leave less to look at."""
    roles: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for one in plan.proof.unsearched:
        roles.setdefault((one.what, one.keys), []).append(f"roles.{one.role}")
    for (what, keys), names in roles.items():
        narrow = f"; less is open with {listed(keys, 'or')} set" if keys else ""
        what = {"options": "some options", "next best": "other combinations of checkpoints"}.get(what, what)
        yield f"{what} of {listed(names)}{narrow}"


def close_call(plan: Plan, call: CloseCall) -> str:
    """Say of another model by how much less or more it scores, and that this is within the error of such a score."""
    now = sum(server.requests for server in plan.servers if server.role == call.role)
    assumed = "assumed " if call.scale == ASSUMED else ""
    amount = f"{abs(call.lead) / 100:.1f} {assumed}points {'less' if call.lead > 0 else 'more'}"
    way = amount if call.lead else f"as many {assumed}points"
    error = f"±{call.error / 100:.1f}"
    within = f" on {call.scale}, within the error of such a score, {error}"
    told = f", which say nothing within {error}" if assumed else within
    served = (
        f"{plural(call.requests, 'request')} too"
        if call.requests == now
        else f"{plural(call.requests, 'request')} instead of {now}"
    )
    return f"{call.repository} has {way}{told}; with it the role would have {served}"


def headline(plan: Plan) -> str:
    """Return one line: how far the plan is proven, with the gap where it is not, on which GPUs, with which engine."""
    kinds = [gpu.gpu for gpu in plan.gpus]
    counts = [f"{kinds.count(kind)} × {kind}" for kind in dict.fromkeys(kinds)]
    engine = f"{plan.engine} {plan.engine_version}"
    if not plan.engine_known:
        engine += " (not studied: sized as its nearest older version)"
    place = ""
    if plan.point:
        place = f"point {plan.point.number} of the frontier of {plan.point.x} and {plan.point.y}, "
    return f"{plan.fleet}: {place}{_proof(plan)}, on {listed(counts)} with {engine}"


def _proof(plan: Plan) -> str:
    goal = ", then ".join(plan.objective)
    if plan.proof.proven:
        return f"proven best for {goal}{_unsaid(plan)}"
    cut = "interrupted, " if plan.proof.interrupted else ""
    stage = next(stage for stage in plan.proof.stages if not stage.proven)
    name = plan.title(stage.name)
    if not has_unit(name):
        more_of = stage_share(stage.bound - stage.value, stage.value, at_most=True)
        return f"{cut}not proven best for {goal} ({name}: a plan with up to {more_of} more is not excluded)"
    found, bound = stage_value(name, stage.value), stage_value(name, stage.bound)
    if stage.value == stage.bound:
        return f"{cut}not proven best for {goal} ({name} is {found}, and there was no time to look at all options)"
    way = "down" if name in COSTS else "up"
    return f"{cut}not proven best for {goal} ({name} is {found}, and {way} to {bound} is not excluded)"


def _unsaid(plan: Plan) -> str:
    """Say of which roles nothing is known that the objective counts."""
    if not counts_speed(plan.objective):
        return ""
    unsaid = [server.role for server in plan.servers if server.speed and server.speed.reason]
    roles = listed(list(dict.fromkeys(unsaid))) if unsaid else ""
    return f" as far as speed is known, of {roles} nothing is" if unsaid else ""


def binding_lines(plan: Plan, role: str | None = None) -> Iterator[str]:
    """Say what keeps each role, or one of them, from more."""
    for name in dict.fromkeys(binding.role for binding in plan.bindings if role in (None, binding.role)):
        own = [binding for binding in plan.bindings if binding.role == name]
        reached = [_SATISFIED[binding.what] for binding in own if binding.limit == "wish"]
        if reached:
            yield f"{name} has {listed(reached)}"
        for binding in own:
            if sentence := _sentence(binding, _why(plan), len({other.role for other in plan.bindings}) > 1):
                yield f"{name}: {sentence}"


def _why(plan: Plan) -> str:
    """Say why a step that fits, and costs its role nothing, was not taken."""
    if "minimal-change" in plan.objective:
        return "the objective asks for minimal change, or other roles would have less"
    if counts_speed(plan.objective):
        return "the objective counts speed, or other roles would have less"
    return "other roles would have less" if plan.proof.proven else "the plan is not proven best"


def _sentence(binding: Binding, why: str, others: bool) -> str:
    """Say what stops the next step; nothing where the fleet or the engine asks for no more.

    Where there are ``others``, they are as they are in the plan.
    """
    if binding.limit == "model":
        return f"the model reads no more than {_tokens(binding.now)}"
    if binding.limit == "speed":
        return f"with more than {binding.now} requests at once it would not surely be as fast as it must"
    if binding.limit == "memory":
        least = "at least " if binding.what == "variant" else ""  # with the fewest requests and the shortest context
        needed, free = format_apart(binding.needed_bytes, binding.free_bytes)
        return f"{_step(binding)} would take {least}{needed} more; {free} are free"
    if binding.limit == "objective":
        return _forgone(binding, why, ", with the other roles as they are" if others else "")
    return ""


def _step(binding: Binding) -> str:
    if binding.what == "concurrency":
        return f"{binding.next} requests at once instead of {binding.now}"
    if binding.what == "context":
        return f"a context of {_tokens(binding.next)} instead of {_tokens(binding.now)}"
    if binding.what == "batched tokens":
        return f"batches of {binding.next} tokens instead of {binding.now}"
    return f"{binding.next}, which is more accurate,"


def _forgone(binding: Binding, why: str, beside: str) -> str:
    """Say what a step that fits would have cost; without a cost the role itself loses nothing by it."""
    cost = binding.cost
    if cost is None:
        return f"{_step(binding)} would fit; {why}"
    if cost.what == "recovery":
        return (
            f"{_step(binding)} would keep {percent(cost.then)} of the unquantized score instead of {percent(cost.now)}"
        )
    if cost.what == "concurrency":
        loss = f"{plural(cost.then, 'request')} at once instead of {cost.now}"
    elif cost.what == "context":
        loss = f"a context of {format_tokens(cost.then)} instead of {format_tokens(cost.now)} tokens"
    else:
        loss = f"batches of {cost.then} tokens instead of {cost.now}"
    return f"{_step(binding)} would leave room for only {loss}{beside}"


def _tokens(text: str) -> str:
    return f"{format_tokens(int(text))} tokens"


def runner_up_lines(plan: Plan, other: RunnerUp) -> Iterator[str]:
    """Say what another plan has differently, and in what it loses first."""
    chosen = {server.role: _limits(server) for server in plan.servers}
    changed = [server for server in other.servers if _limits(server) != chosen.get(server.role)]
    for server in changed:
        yield f"{server.role}: {_server(server)}"
    for role in sorted({server.role for server in plan.servers} - {server.role for server in other.servers}):
        yield f"{role}: left out"
    if len(changed) < len(other.servers):
        yield "all else as above"
    yield runner_up_loss(plan, other)


def runner_up_loss(plan: Plan, other: RunnerUp) -> str:
    """Say in what another plan loses first."""
    for here, there in zip(plan.proof.stages, other.stages, strict=True):
        if here.value != there.value:
            name = plan.title(here.name)
            if there.value > here.value:
                return "it changes servers that this plan leaves as they are"
            change = stage_change(name, there.value, here.value)
            return f"it loses in {COUNTED[name]}: {change}" if has_unit(name) else f"it has {change} of {COUNTED[name]}"
    return "it is equal in everything that is maximised; the order of names decided"


def _limits(server: ServerPlan | RunnerUpServer) -> tuple[str, str, int, int]:
    return server.repository, server.kv_cache_dtype, server.max_model_len, server.requests


def _server(server: RunnerUpServer) -> str:
    limits = f"{plural(server.requests, 'request')}, context {format_tokens(server.max_model_len)}"
    return f"{server.repository}, {limits}, KV cache {server.kv_cache_dtype}; {accuracy(server.accuracy)}"
