"""Curves of a server: how many requests of a length its KV cache holds, and how fast it is with so many running."""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from planner.check.servers import Recomputed
from planner.explain.speed_text import speed_unsaid
from planner.memory.demand import scarcest_layout
from planner.options.speed import speed_of
from planner.plan import ServerPlan
from planner.speed.forecast import Range

_STEPS = 16
"""How many points a curve has beside those that the plan names."""


class Held(Struct, frozen=True, kw_only=True):
    """So many requests of ``tokens`` run at once without waiting for the KV cache.

    One of them takes ``bytes`` of the cache, on each GPU of its rank.
    """

    tokens: int
    requests: int
    bytes: int


class Pace(Struct, frozen=True, kw_only=True):
    """How fast a server is with ``requests`` running, each figure with its range; units are those of plan.yaml."""

    requests: int
    tpot_us: Range
    ttft_us: Range
    output_millitokens_per_second: Range


class Curves(Struct, frozen=True, kw_only=True):
    """What one server of a role can do; the replicas of a role are alike in each pool.

    ``request_tokens`` is the length that the plan guarantees; ``max_model_len`` tokens and ``requests`` at once are the
    limits it is started with, and a token beyond that context would take ``token_bytes`` of the cache on each GPU.
    ``held`` is empty for a server without a KV cache, ``paces`` where the plan says nothing of its speed, and
    ``no_pace`` is then why. Speeds are ``bounds`` where the servers on its GPUs ask for more than all of their time.
    """

    role: str
    server: str
    request_tokens: int
    max_model_len: int
    requests: int
    token_bytes: int
    held: tuple[Held, ...]
    paces: tuple[Pace, ...]
    no_pace: str
    bounds: bool


def curves(facts: Recomputed) -> tuple[Curves, ...]:
    """Return the curves of the first server of every role in every pool, in the plan's order."""
    return tuple(
        Curves(
            role=server.role,
            server=server.name,
            request_tokens=server.request_tokens,
            max_model_len=server.max_model_len,
            requests=server.requests,
            token_bytes=_token_bytes(facts, server),
            held=tuple(_held(facts, server)),
            paces=tuple(_paces(facts, server)),
            no_pace=speed_unsaid(server),
            bounds=bool(server.speed and server.speed.busy_permille > 1000),
        )
        for server in facts.plan.unlike
    )


def _token_bytes(facts: Recomputed, plan: ServerPlan) -> int:
    layout = scarcest_layout(facts.server(plan), facts.gpu(plan), facts.profile)
    return layout.bytes_per_token(plan.max_model_len, plan.max_num_batched_tokens)


def _held(facts: Recomputed, plan: ServerPlan) -> Iterator[Held]:
    """Yield what the checker compares the plan's guarantees with, at more lengths."""
    server = facts.server(plan)
    layout = scarcest_layout(server, facts.gpu(plan), facts.profile)
    if not layout.groups:
        return
    blocks = layout.blocks(plan.kv_cache_memory_bytes)
    even = {max(1, plan.max_model_len * step // _STEPS) for step in range(1, _STEPS + 1)}
    for tokens in sorted(even | {plan.request_tokens}):
        reserved = server.flags.reserved_tokens(tokens)
        held = layout.requests_held(blocks - 1, reserved, plan.max_num_batched_tokens, plan.max_num_seqs)
        each = layout.blocks_per_request(reserved, plan.max_num_batched_tokens) * layout.bytes_per_block
        yield Held(tokens=tokens, requests=held * plan.data_parallel_size, bytes=each)


def _paces(facts: Recomputed, plan: ServerPlan) -> Iterator[Pace]:
    """Yield the speed with 1, 2, 4, … requests on every rank, up to all of them, as the plan's own is counted."""
    if plan.speed is None or plan.speed.reason is not None:
        return
    server, role = facts.server(plan), facts.fleet.role(plan.role)
    most = plan.max_num_seqs
    for running in sorted({min(most, 1 << step) for step in range(most.bit_length() + 1)}):
        fewer = replace(server, flags=replace(server.flags, max_num_seqs=running))
        found = speed_of(
            role, fewer, facts.gpu(plan), facts.profile, facts.catalog.speed, plan.speed.busy_permille, len(plan.nodes)
        )
        if found and found.tpot_us and found.ttft_us and found.output_millitokens_per_second:
            yield Pace(
                requests=running * plan.data_parallel_size,
                tpot_us=found.tpot_us,
                ttft_us=found.ttft_us,
                output_millitokens_per_second=found.output_millitokens_per_second,
            )
