"""Why a plan is as it is: role by role, GPU by GPU, and what more memory would buy."""

from collections.abc import Iterator

from planner.explain.difference_text import difference
from planner.explain.named import gpus_named
from planner.explain.nearby_text import nearby_lines
from planner.explain.reasons import binding_lines, close_call, runner_up_lines
from planner.explain.rejections import rejection_lines
from planner.explain.speed_text import speed_lines
from planner.explain.turns_text import turns
from planner.explain.words import (
    COSTS,
    COUNTED,
    accuracy,
    has_unit,
    listed,
    plural,
    stage_amount,
    stage_share,
    stage_value,
    stages,
)
from planner.plan import Binding, Gain, GPULedger, Plan, ServerPlan, differences, gain
from planner.plan.account import Account, Alternative, ContextPrice, Growth, LeftOut
from planner.units import format_gib, format_missing, format_tokens

_FREE_MEMORY = "headroom"
"""The stage that more memory always raises, and that nobody serves requests with."""
_FEW = 4
"""Servers of a role up to which it is said of each where its stages or ranks are."""
_NOT_SERVED = frozenset({
    "gpu_indices", "node", "later_stages", "port", "master_port", "ledger", "gpu_memory_utilization",
    "kv_cache_memory_bytes", "kv_cache_tokens",
})  # fmt: skip
"""Fields of a server that say where it is and what it takes, not what it serves."""


def account(found: Account, role: str | None = None) -> str:
    """Return the whole text, or what concerns one role."""
    roles = [item for item in found.alternatives if role in (None, item.role)]
    blocks = [*(_role(found, item) for item in roles), *map(_left_out, found.left_out)]
    gpus = [gpu for gpu in found.plan.gpus if role is None or role in _roles(found.plan, gpu)]
    if gpus:
        blocks.append("\n".join(["GPUs:", *(f"  {line}" for line in _gpus(found.plan, gpus))]))
    if role is None or any(role in group.roles for group in found.plan.time_share):
        blocks += filter(None, [turns(found.plan)])
    blocks += _growths(found)
    return "\n\n".join(blocks)


def _role(found: Account, item: Alternative) -> str:
    plan = found.plan
    own = [server for server in plan.servers if server.role == item.role]
    pools = plan.by_pool(item.role)
    lines = [f"{item.role}: {'; and '.join(_served(servers) for servers in pools.values())}"]
    lines += [f"  {line}" for line in binding_lines(plan, item.role)]
    lines += [f"  {_price(one, pools)}" for one in found.contexts if one.role == item.role]
    for speed in found.speeds:
        if speed.role == item.role:
            slowest = max(pools[speed.pool], key=lambda server: server.speed.busy_permille if server.speed else 0)
            where = f"in {speed.pool} " if len(pools) > 1 else ""
            lines += [f"  {where}{line}" for line in speed_lines(speed, slowest)]
    if item.runner_up is None:
        lines.append(f"  without {own[0].repository} no plan was found")
    else:
        lines.append(f"  without {own[0].repository} the best plan would have")
        lines += [f"    {line}" for line in runner_up_lines(plan, item.runner_up)]
    lines += [f"  close call: {close_call(plan, call)}" for call in plan.close_calls if call.role == item.role]
    paced = all(server.speed and server.speed.tpot_us for server in own)
    nearby = [one for one in found.nearby if one.role == item.role]
    lines += [f"  {line}" for line in nearby_lines(nearby, paced=paced)]
    return "\n".join(lines)


def _price(one: ContextPrice, pools: dict[str, list[ServerPlan]]) -> str:
    """Say what a further token costs a request, and 1,024 of them all requests of a server."""
    requests = pools[one.pool][0].max_num_seqs
    where = f" in {one.pool}" if len(pools) > 1 else ""
    each = f"a further token of context{where} takes {one.token_bytes:,} bytes of the KV cache on each GPU"
    return f"{each}, 1,024 of them {format_gib(one.token_bytes * 1024 * requests)} for {plural(requests, 'request')}"


def _left_out(item: LeftOut) -> str:
    if not item.rejections:
        return f"{item.role}: left out; what it would take is worth more to the others"
    return "\n".join(
        [f"{item.role}: left out; no variant can serve it", *(f"  {one}" for one in rejection_lines(item.rejections))]
    )


def _served(servers: list[ServerPlan]) -> str:
    one = servers[0]
    replicas = f"{plural(len(servers), 'replica')}, each with " if len(servers) > 1 else ""
    limits = f"{plural(one.requests, 'request')} at once, context {format_tokens(one.max_model_len)}"
    split = [server for server in servers if server.shared_out]
    where = "".join(f"; {stages(server)}" for server in split[:_FEW])
    where += f"; and {plural(len(split) - _FEW, 'more like these')}" if len(split) > _FEW else ""
    cache = f"KV cache {one.kv_cache_dtype}"
    attention = f", attention by {one.attention_backend}" if one.attention_backend else ""
    return f"{one.repository}, {replicas}{limits}, {cache}{attention}; {accuracy(one.accuracy)}{where}"


def _roles(plan: Plan, gpu: GPULedger) -> list[str]:
    return list(dict.fromkeys(plan.server(name).role for name in gpu.servers))


def _gpus(plan: Plan, gpus: list[GPULedger]) -> Iterator[str]:
    """One line for each GPU, or for all that are alike."""
    servers = {server.name: server.role for server in plan.servers}
    alike: dict[tuple[str, tuple[str, ...], int], list[GPULedger]] = {}
    for gpu in gpus:
        roles = tuple(dict.fromkeys(servers[name] for name in gpu.servers))
        alike.setdefault((gpu.gpu, roles, gpu.free_bytes), []).append(gpu)
    several = len({gpu.node for gpu in plan.gpus}) > 1
    for (kind, roles, free), group in alike.items():
        there = f"{gpus_named(group, nodes=several)}, {kind}: {format_gib(free)} free"
        yield f"{there} beside {listed(roles)}; {_waiting(plan, roles)}" if roles else f"{there}, not used"


def _waiting(plan: Plan, roles: tuple[str, ...]) -> str:
    """Say which next step of the roles on a GPU needs the least more memory."""
    steps = [step for step in plan.bindings if step.role in roles and step.limit == "memory"]
    if not steps:
        return "no role lacks only memory here for more"
    first = min(steps, key=lambda step: (step.needed_bytes - step.free_bytes, step.role, step.what))
    return f"{format_missing(first.needed_bytes - first.free_bytes)} more would be the next step, {_step(first)}"


def _step(step: Binding) -> str:
    amount = step.next if step.what == "variant" else f"{step.what} {step.next}"
    return f"{step.role}: {amount}"


def _growths(found: Account) -> Iterator[str]:
    """One block for each thing that more memory would buy, with all pools where it would."""
    pools: dict[str, list[str]] = {}
    for growth in found.growths:
        pools.setdefault("\n".join(_bought(found.plan, growth)), []).append(growth.pool)
    for text, names in pools.items():
        amount = format_gib(found.growths[0].more_bytes)
        where = f" of {listed(names, 'or')}" if len(found.growths) > 1 else ""
        yield f"{amount} more" + (f" on each GPU{where}" if len(found.plan.gpus) > 1 else "") + f" would {text}"


def _amount(plan: Plan, bought: Gain) -> str:
    """Say what is gained, in the unit of what counts, or in per cent of what the plan has."""
    if bought.stage in COSTS:
        return f"save {stage_value(bought.stage, bought.by)}:"
    if has_unit(bought.stage):
        return f"give {stage_value(bought.stage, bought.by)} more in {COUNTED[bought.stage]}:"
    return f"give {stage_share(bought.by, stage_amount(plan, bought.stage))} more of {COUNTED[bought.stage]}:"


def _bought(plan: Plan, growth: Growth) -> Iterator[str]:
    bought = gain(plan, growth.answer) if isinstance(growth.answer, Plan) else None
    if not isinstance(growth.answer, Plan):
        yield "give a plan that was not found in time"
    elif bought is None or bought.stage == _FREE_MEMORY:
        yield "give nothing but free memory"
    else:
        yield _amount(plan, bought)
        changed = differences(plan, growth.answer)
        served = [item for item in changed if item.kind == "server" and item.field not in _NOT_SERVED]
        yield from (f"  {line}" for line in difference(served).splitlines())
