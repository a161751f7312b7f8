"""What a forgone step would have cost: no more than is true, and the plan that takes the step is really worse."""

from fleets import PAIR, changed
from solving import planned

from planner.units import ceil_div

TIGHT = changed(PAIR, "roles.coder.concurrency", {"min": 4, "target": 24})


def test_a_more_accurate_variant_that_fits_says_what_the_role_would_lose() -> None:
    plan = planned(TIGHT)
    forgone = {item.role: item for item in plan.bindings if item.what == "variant" and item.limit == "objective"}

    assert forgone
    for role, item in forgone.items():
        assert item.cost is not None
        own = plan.server(role)
        now = {"concurrency": own.max_num_seqs, "context": own.max_model_len,
               "batched tokens": own.max_num_batched_tokens}  # fmt: skip
        assert item.cost.then < item.cost.now == now[item.cost.what]


def test_pinning_the_forgone_variant_costs_at_least_what_was_said() -> None:
    plan = planned(TIGHT)
    item = next(item for item in plan.bindings if item.what == "variant" and item.cost)
    assert item.cost
    repository, _, cache = item.next.partition(" with KV cache ")
    pinned = changed(TIGHT, f"roles.{item.role}.variant", repository)
    for other in plan.servers:  # all others as they are
        pins = {"variant": other.repository, "kv_cache_dtype": other.kv_cache_dtype, "context": other.max_model_len,
                "concurrency": other.max_num_seqs}  # fmt: skip
        if other.role != item.role:
            for key, value in pins.items():
                pinned = changed(pinned, f"roles.{other.role}.{key}", value)
    if cache:
        pinned = changed(pinned, f"roles.{item.role}.kv_cache_dtype", cache)
    answer = planned(pinned)
    then = answer.server(item.role)
    # The size of a batch cannot be pinned: what the others give up of theirs is room for more requests.
    given_up = sum(
        other.ledger.total_bytes - answer.server(other.role).ledger.total_bytes
        for other in plan.servers
        if other.role != item.role
    )
    request_bytes = then.kv_cache_memory_bytes // then.max_num_seqs

    assert then.repository == repository
    if item.cost.what == "concurrency":
        assert then.max_num_seqs <= item.cost.then + ceil_div(given_up, request_bytes)
