"""The value of the objective: the formula of docs/objective.md, term by term, from what the servers of a plan do."""

from collections.abc import Iterator

from msgspec.structs import replace

from planner.check.headroom import HEADROOM, check_headroom, default_batch
from planner.check.servers import Recomputed, variant_of
from planner.check.violation import Violation
from planner.facts.accuracy import Accuracy
from planner.fleet import Role
from planner.options.paces import Pacing
from planner.options.place import places
from planner.options.problem import in_plan, left_out, stages
from planner.options.worth import COST_PER_MTOK, LATENCY, SHARE, THROUGHPUT, TPOT
from planner.plan import AXES, FrontierPoint, Plan, ServerPlan, Stage, money_of, price_of


def check_objective(facts: Recomputed) -> Iterator[Violation]:
    """Recompute every stage of the objective; one that is not known here fails, for nothing says that it is so."""
    yield from _check_prices(facts)
    if facts.plan.money != money_of(facts.fleet, facts.plan.servers):
        yield Violation("money", "is not what the prices and speeds say")
    values = _values(facts)
    yield from _check_names(facts.plan, values)
    for stage in facts.plan.proof.stages:
        where = f"stage {stage.name}"
        if stage.name == HEADROOM:
            yield from check_headroom(facts, stage)
        elif stage.name in values and stage.value != values[stage.name]:
            yield Violation(where, f"has the value {stage.value}, recomputed {values[stage.name]}")
        if stage.value > stage.bound:
            yield Violation(where, f"has the value {stage.value}, above the bound of {stage.bound}")
        if stage.proven and stage.value != stage.bound:
            yield Violation(where, f"is not proven: its value is {stage.value}, its bound {stage.bound}")
    if facts.plan.point:
        yield from _check_point(facts.plan, facts.plan.point, values)


def measured(facts: Recomputed) -> Plan:
    """Return a plan with the value of every stage of its objective as its stages, none of them proven."""
    values = _values(facts)
    stages_ = tuple(
        Stage(name=name, value=values[name], bound=values[name], proven=False) for name in facts.plan.objective
    )
    return replace(facts.plan, proof=replace(facts.plan.proof, proven=False, stages=stages_))


def _check_names(plan: Plan, values: dict[str, int]) -> Iterator[Violation]:
    """The stages are those of the objective, all of them known here; the change is one against another plan."""
    names, expected = [stage.name for stage in plan.proof.stages], [*stages(plan.objective), HEADROOM]
    for name in names:
        if name not in values and name != HEADROOM:
            yield Violation(f"stage {name}", "is none that can be recomputed")
    if names != expected:
        yield Violation("stages", f"are {', '.join(names) or 'none'}, not {', '.join(expected)}")
    if plan.proof.proven and not all(stage.proven for stage in plan.proof.stages):
        yield Violation("proof", "says proven, which not every stage is")
    if plan.proof.proven and any(one.what == "options" for one in plan.proof.unsearched):
        yield Violation("proof", "says proven, where not all options were looked at")


def _check_point(plan: Plan, point: FrontierPoint, values: dict[str, int]) -> Iterator[Violation]:
    """A point of a frontier is decided by its two axes, and has what it claims of the second."""
    if sorted(plan.objective) != sorted(AXES.get(axis, axis) for axis in (point.x, point.y)):
        yield Violation("point", f"is one of {point.x} and {point.y}, but maximises {', '.join(plan.objective)}")
    elif point.floor is not None and values[plan.objective[1]] < point.floor:
        reached = values[plan.objective[1]]
        yield Violation("point", f"must reach {point.floor} in {plan.objective[1]}, and has {reached}")


def _values(facts: Recomputed) -> dict[str, int]:
    accuracy = concurrency = context = batch = left = score = 0
    for role in facts.fleet.roles:
        servers = [server for server in facts.plan.servers if server.role == role.name]
        if not servers:
            continue
        server = servers[0]
        figures = facts.figures[role.name]
        best = figures.measure
        by_pool = list(facts.plan.by_pool(role.name).values()) if role.across_pools else [servers]
        figure = min(best.figure(_compared(facts, found[0], role)) or 0 for found in by_pool)
        requests = min(sum(server.requests for server in servers), role.concurrency_target)
        accuracy += role.weight * ((best.best - max(0, best.best - figure) // 100 * 100) * SHARE // best.best)
        concurrency += role.weight * requests * (SHARE // role.concurrency_target)
        context += role.weight * min(1000, server.max_model_len * 1000 // role.context_wish)
        batch += role.weight * (1000 - sum(_short_batch(facts, role, found) for found in by_pool))
        left += role.weight * figure
        score += role.weight * (figure * SHARE // best.best)
    return {
        "balanced": accuracy + concurrency,
        "accuracy": accuracy,
        "concurrency": concurrency,
        "score": score,
        "cost": -_cost(facts),
        "context": context,
        "batched tokens": batch,
        "accuracy below a point": left,
        **_paces(facts),
    }


def _paces(facts: Recomputed) -> dict[str, int]:
    """The stages that count speed, where the objective has any."""
    objective = facts.plan.objective
    pacing = Pacing.of(objective, facts.catalog.speed, priced=facts.fleet.priced)
    if pacing is None:
        return {}
    fleet = replace(facts.fleet, objective=objective)
    where = {place.name: place for place in places(fleet, facts.profile)}
    found = {name: in_plan(fleet, name, 0) for name in (THROUGHPUT, LATENCY, TPOT, COST_PER_MTOK)}
    for role in fleet.roles:
        servers = [server for server in facts.plan.servers if server.role == role.name]
        pool = facts.pool(servers[0]) if servers else None
        if pool is None:
            continue
        batch = default_batch(facts, servers[0], role, len(servers) * servers[0].data_parallel_size)
        pace = pacing.pace(role, facts.server(servers[0]), where[pool.name], len(servers), batch)
        for name in found:
            found[name] += role.weight * getattr(pace, name) + left_out(role, name)
    return found


def _compared(facts: Recomputed, server: ServerPlan, role: Role) -> Accuracy:
    """The accuracy that decides: without the KV cache where nobody published what it costs."""
    found = variant_of(role, server)
    assert found is not None
    return facts.figures[role.name].compared(*found, facts.cache(server), server.max_model_len)


def _cost(facts: Recomputed) -> int:
    """The price of the GPUs in use, or of whole nodes that are rented; their number where a price is not known."""
    used = [gpu for gpu in facts.plan.gpus if gpu.servers]
    if any(pool.microdollars_per_hour is None for pool in facts.fleet.pools):
        return len(used)
    total = 0
    for pool in facts.fleet.pools:
        here = [gpu for gpu in used if gpu.pool == pool.name]
        whole = pool.microdollars_per_node_hour is not None
        total += (len({gpu.node for gpu in here}) if whole else len(here)) * (pool.microdollars_per_hour or 0)
    return total


def _check_prices(facts: Recomputed) -> Iterator[Violation]:
    """The prices are those of the fleet, and there are some exactly when cost is counted in dollars."""
    pools = facts.fleet.pools
    counted = facts.fleet.priced and not {"cost", COST_PER_MTOK}.isdisjoint(facts.plan.objective)
    expected = [
        (pool.name, pool.microdollars_per_gpu_hour or 0, pool.microdollars_per_node_hour or 0) for pool in pools
    ]
    stated = [(own.pool, own.microdollars_per_gpu_hour, own.microdollars_per_node_hour) for own in facts.plan.prices]
    if stated != (expected if counted else []):
        yield Violation("prices", "are not those of the fleet")
    if facts.plan.price != price_of(facts.fleet, facts.plan.servers):
        yield Violation("price", "is not what the GPUs in use cost")


def _short_batch(facts: Recomputed, role: Role, servers: list[ServerPlan]) -> int:
    """Return how many thousandths of the engine's default the batch of the servers in one pool lacks."""
    server = servers[0]
    default = default_batch(facts, server, role, len(servers) * server.data_parallel_size)
    return 1000 - min(1000, server.max_num_batched_tokens * 1000 // default)
