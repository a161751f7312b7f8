"""The nearest alternatives to what a plan gives each role, each solved: other checkpoints, and more GPUs.

All other roles keep their checkpoints, so that a line tells what one decision costs.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from planner.catalog import Catalog
from planner.facts.accuracy import Accuracy
from planner.facts.prior import ASSUMED, assumed_points
from planner.facts.variant import Model
from planner.fleet import Fleet, Pool, Role, priced
from planner.options import Option, Prepared, Rejection
from planner.plan import Plan
from planner.plan.nearby import MORE_GPUS, Change, Nearby
from planner.search import watch
from planner.search.budget import BudgetSpent, purse, spending
from planner.solve.assemble import Decision, by_role
from planner.solve.siblings import siblings
from planner.solve.whole import Solved, tried

_RECOVERY = "recovery"
_FULL_NODE = 8
"""GPUs of the largest nodes that are for rent or sale; more of them are another node."""


def nearby(fleet: Fleet, catalog: Catalog, found: Solved, role: str | None, budget: int) -> Iterator[Nearby]:
    """Yield the alternatives of all roles of a plan, or of one; all of them together share the budget."""
    base = as_planned(fleet, found.plan)
    with spending(budget):
        for decision, *_ in by_role(found.decided):
            if role in (None, decision.role.name):
                yield from _of_role(base, catalog, found, decision, budget)


def as_planned(fleet: Fleet, plan: Plan) -> Fleet:
    """Return a fleet with what its plan settled: the engine version, and what roles do between their turns."""
    how = next((server.asleep.how for server in plan.servers if server.asleep), None)
    return replace(fleet.settled(how) if how else fleet, engine_version=plan.engine_version, written=None)


def _of_role(fleet: Fleet, catalog: Catalog, found: Solved, decision: Decision, budget: int) -> Iterator[Nearby]:
    kept = others_kept(fleet, found, decision.role.name)
    for kind, wanted, model in siblings(catalog, decision.option, decision.role.task):
        changed = with_role(kept, narrowed(decision.role, model))
        yield _solved(
            changed, catalog, found, decision, Nearby(role=decision.role.name, kind=kind, wanted=wanted), budget
        )
    pool = _wider(fleet, fleet.pools[decision.option.pool], catalog)
    if pool:
        wanted = f"{pool.gpu_count} × {pool.gpu.name}"
        asked = Nearby(role=decision.role.name, kind=MORE_GPUS, wanted=wanted, price_basis=pool.price_source)
        yield _solved(kept.with_pool(pool), catalog, found, decision, asked, budget)


def others_kept(fleet: Fleet, found: Solved, name: str) -> Fleet:
    """Return the fleet in which all roles but one have to keep the checkpoints that the plan gives them."""
    for decision in found.decided:
        if decision.role.name != name:
            fleet = with_role(fleet, replace(decision.role, variant=decision.option.variant.repository))
    return fleet


def with_role(fleet: Fleet, changed: Role) -> Fleet:
    """Return a fleet with one role in the place of that of its name."""
    return replace(fleet, roles=tuple(changed if role.name == changed.name else role for role in fleet.roles))


def narrowed(role: Role, model: Model) -> Role:
    """Return a role that has to have a model; what its roles pin and give figures for was another one."""
    parts = tuple(replace(part, models=(model,), variant=None, schemes=None, figures=()) for part in role.parts)
    return replace(role, models=(model,), variant=None, schemes=None, figures=(), parts=parts)


def _wider(fleet: Fleet, pool: Pool, catalog: Catalog) -> Pool | None:
    """Return a pool with twice the GPUs on each node, or with one node more; None where its node has others.

    What the catalog's price was is that of instances with as many GPUs now.
    """
    if any(other is not pool and set(other.node_names) & set(pool.node_names) for other in fleet.pools):
        return None
    if pool.gpu.parent or 2 * pool.gpus_per_node > _FULL_NODE:
        number = pool.nodes + 1
        name = next(one for one in (f"{pool.name}-{number}", f"{pool.name}--{number}") if not _taken(fleet, one))
        return replace(pool, node_names=(*pool.node_names, name))
    wide = replace(pool, gpus_per_node=2 * pool.gpus_per_node)
    if pool.microdollars_per_node_hour is None:
        return wide
    return priced(replace(wide, microdollars_per_node_hour=None, price_source="", price_date=""), catalog)


def _taken(fleet: Fleet, name: str) -> bool:
    return any(name in pool.node_names for pool in fleet.pools)


def _solved(fleet: Fleet, catalog: Catalog, found: Solved, decision: Decision, asked: Nearby, budget: int) -> Nearby:
    """Return an alternative with what solving its fleet gives."""
    if watch.stopped() or purse().spent:
        return replace(asked, found=False)
    watch.task(f"{asked.kind} for {asked.role}")
    try:
        answer = tried(fleet, catalog, budget)
    except BudgetSpent:
        return replace(asked, found=False)
    if isinstance(answer, Prepared):
        return replace(asked, rejection=_closest(answer, asked.role))
    return _compared(catalog, found, answer, decision, asked)


def _closest(prepared: Prepared, role: str) -> Rejection | None:
    """Return why a role has no option: of what is too large the one that lacks least, or else the first reason."""
    own = next(found for found in prepared.roles if found.role.name == role)
    if own.options:
        return None
    return min(own.rejections, key=lambda item: (item.reason != "memory", _missing(item), item), default=None)


def _missing(item: Rejection) -> int:
    return (item.wanted - item.found) * item.tensor_parallel_size * item.pipeline_parallel_size


def _compared(catalog: Catalog, found: Solved, answer: Solved, decision: Decision, asked: Nearby) -> Nearby:
    then = next((one for one in answer.decided if one.role.name == asked.role), None)
    gone = tuple(sorted(set(answer.plan.left_out) - set(found.plan.left_out)))
    if then is None:
        return replace(asked, left_out=gone)
    scale, accuracy = _accuracy(catalog, decision, then.option)
    now_paid, then_paid = _paid(found.plan), _paid(answer.plan)
    now_pace, then_pace = _pace(found.plan, asked.role), _pace(answer.plan, asked.role)
    servers = [server for server in answer.plan.servers if server.role == asked.role]
    requests = _requests(answer.plan, asked.role)
    change = Change(
        scale=scale,
        accuracy=accuracy,
        requests=requests - _requests(found.plan, asked.role),
        millitokens_per_second=None if now_pace is None or then_pace is None else then_pace - now_pace,
        microdollars_per_hour=None if now_paid is None or then_paid is None else then_paid - now_paid,
        gpus=_gpus(answer.plan) - _gpus(found.plan),
    )
    return replace(
        asked,
        repository=then.option.variant.path or then.option.variant.repository,
        scheme=then.option.variant.scheme,
        kv_cache_dtype=then.option.kv_cache_dtype,
        max_model_len=then.option.max_model_len,
        replicas=len(servers),
        requests=requests,
        left_out=gone,
        change=change,
    )


def _accuracy(catalog: Catalog, decision: Decision, then: Option) -> tuple[str, int | None]:
    """Return how much more accurate an option is than the one decided on, on what scale; None where nothing says it."""
    now, role = decision.option, decision.role
    if now.model.repository == then.model.repository:
        return _of_one_model(now.accuracy, then.accuracy)
    if role.figures:
        return now.accuracy.scale, None
    scale = now.accuracy.scale
    if now.accuracy.score is not None and scale != ASSUMED:
        other = _on(catalog, role, then, scale)
        if other.score is not None:
            return scale, other.score - now.accuracy.score
    points = assumed_points((now.model, then.model), role.task)
    scores = [_on(catalog, role, one, scale, points.get(one.model.repository)).score for one in (now, then)]
    if not points or scores[0] is None or scores[1] is None:
        return scale, None
    return ASSUMED, scores[1] - scores[0]


def _of_one_model(now: Accuracy, then: Accuracy) -> tuple[str, int | None]:
    if now.score is not None and then.score is not None and now.scale == then.scale:
        return now.scale, then.score - now.score
    if now.recovery_median is None or then.recovery_median is None:
        return _RECOVERY, None
    return _RECOVERY, then.recovery_median - now.recovery_median


def _on(catalog: Catalog, role: Role, option: Option, scale: str, points: int | None = None) -> Accuracy:
    return catalog.accuracy.of(
        option.model,
        option.variant,
        role.task,
        scale=scale,
        kv_cache_dtype=option.kv_cache_dtype,
        context_tokens=option.max_model_len,
        points=points,
    )


def _requests(plan: Plan, role: str) -> int:
    return sum(server.requests for server in plan.servers if server.role == role)


def _pace(plan: Plan, role: str) -> int | None:
    """Return the thousandths of a token per second of one request on the slowest server of a role."""
    paces = [server.speed.tpot_us if server.speed else None for server in plan.servers if server.role == role]
    known = [pace.value for pace in paces if pace]
    return 1_000_000_000 // max(known) if known and len(known) == len(paces) else None


def _paid(plan: Plan) -> int | None:
    return plan.price.micro_per_hour if plan.price else None


def _gpus(plan: Plan) -> int:
    return len({gpu for server in plan.servers for gpu in server.gpus})
