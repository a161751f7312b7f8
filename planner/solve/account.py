"""The account of a plan: what every role would have without its variant, and what more memory would buy."""

import contextlib
from collections.abc import Iterator

from msgspec.structs import replace

from planner.catalog import Catalog
from planner.fleet import Fleet, Pool
from planner.memory.demand import scarcest_layout
from planner.options import prepare
from planner.plan import NoPlan, Plan, RunnerUp
from planner.plan.account import Account, Alternative, ContextPrice, Growth, LeftOut, RoleSpeed
from planner.search import watch
from planner.search.budget import BUDGET, BudgetSpent, spending
from planner.solve.alternatives import next_best
from planner.solve.assemble import by_role
from planner.solve.close_calls import close_calls
from planner.solve.nearby import nearby
from planner.solve.speed_steps import role_speed
from planner.solve.whole import Solved, whole
from planner.units import GIB


def account(
    fleet: Fleet, catalog: Catalog, role: str | None = None, budget: int = BUDGET, previous: Plan | None = None
) -> Account | NoPlan:
    """Return the plan of a fleet with its account, of all roles or of one; or why there is no plan.

    Like ``solve``, it follows a ``previous`` plan.

    Raises:
        BudgetSpent: neither a plan nor its impossibility could be shown within the solver's budget.
    """
    with spending(budget):
        found = whole(fleet, catalog, budget, previous)
    if isinstance(found, NoPlan):
        return found
    with spending(budget):
        if found.prepared.some:  # a plan without one role's variant may reach less than the runner-up
            found = replace(found, prepared=prepare(fleet, catalog, found.prepared.profile))
        close = tuple(call for call in close_calls(fleet, catalog, found, budget)[0] if role in (None, call.role))
        alternatives = tuple(_alternatives(fleet, found, role, budget))
    return Account(
        plan=replace(found.plan, close_calls=close),
        left_out=tuple(_left_out(found, name) for name in found.plan.left_out if role in (None, name)),
        alternatives=alternatives,
        growths=tuple(_growth(fleet, found.plan, pool, catalog, budget) for pool in fleet.pools),
        speeds=tuple(_speeds(fleet, catalog, found, role)),
        nearby=tuple(nearby(fleet, catalog, found, role, budget)),
        contexts=tuple(_contexts(fleet, found, role)),
    )


def _speeds(fleet: Fleet, catalog: Catalog, found: Solved, role: str | None) -> Iterator[RoleSpeed]:
    for decision in found.decided:
        if role in (None, decision.role.name):
            speed = role_speed(fleet, catalog, found.prepared, decision, found.plan)
            if speed:
                yield speed


def _contexts(fleet: Fleet, found: Solved, role: str | None) -> Iterator[ContextPrice]:
    for decision in found.decided:
        pool, option = fleet.pools[decision.option.pool], decision.option
        layout = scarcest_layout(decision.server, pool.gpu, found.prepared.profile)
        price = layout.bytes_per_token(option.max_model_len, option.max_num_batched_tokens)
        if price and role in (None, decision.role.name):
            yield ContextPrice(role=decision.role.name, pool=pool.name, token_bytes=price)


def _alternatives(fleet: Fleet, found: Solved, role: str | None, budget: int) -> Iterator[Alternative]:
    for decision, *_ in by_role(found.decided):
        if role in (None, decision.role.name):
            watch.task(f"without the variant of {decision.role.name}")
            other: RunnerUp | None = None
            with contextlib.suppress(BudgetSpent):
                other = next_best(fleet, found.prepared, [decision], budget, found.kept)
            yield Alternative(role=decision.role.name, runner_up=other)


def _left_out(found: Solved, name: str) -> LeftOut:
    own = next(item for item in found.prepared.roles if item.role.name == name)
    return LeftOut(role=name, rejections=() if own.options else own.rejections)


def _growth(fleet: Fleet, plan: Plan, pool: Pool, catalog: Catalog, budget: int) -> Growth:
    """Solve again with one GiB more: less in use by others where there is that much, else on a larger GPU.

    The plan stays as it is where nothing is better for a change.
    """
    if pool.memory_in_use_bytes >= GIB:
        larger = replace(pool, memory_in_use_bytes=pool.memory_in_use_bytes - GIB)
    else:
        gpu = replace(pool.gpu, memory_bytes=pool.gpu.memory_bytes + GIB)
        larger = replace(pool, gpu=gpu)
    answer: Plan | NoPlan | None
    if watch.stopped():
        return Growth(pool=pool.name, more_bytes=GIB, answer=None)
    watch.task(f"1 GiB more in {pool.name}")
    try:
        with spending(budget):
            found = whole(fleet.with_pool(larger), catalog, budget, plan)
        answer = found if isinstance(found, NoPlan) else found.plan
    except BudgetSpent:
        answer = None
    return Growth(pool=pool.name, more_bytes=GIB, answer=answer)
