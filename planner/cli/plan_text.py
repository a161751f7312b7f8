"""A plan as the text that ``planner solve`` prints: who serves what, where every byte goes, how far it is proven."""

from collections.abc import Iterable, Iterator

from planner import explain
from planner.cli.text import fill, table, wrapped
from planner.explain.alike import alike, gpus_in_short, servers_in_short
from planner.explain.named import named, numbered
from planner.explain.words import TERMS, UNSEEN, listed
from planner.facts.prior import ASSUMED
from planner.plan import GPULedger, KnownFault, Ledger, Plan, ServerPlan, ServerSpeed
from planner.units import format_gib, format_tokens, gib

_VARIANTS = ("role", "variant", "scheme", "score, points", "recovery, %")
_LIMITS = ("role", "port", "KV cache", "context, tokens", "requests", "batch, tokens", "holds at once")
_FEW = 8
"""Servers of a role up to which it is said of each on which GPUs its parts are."""
_SPEED = ("role", "requests", "tokens/s each", "range", "first token, s", "range", "tokens/s", "range")


def plan_text(plan: Plan) -> str:
    """Return the whole text: headline, servers, one ledger per GPU, what binds, where the accuracy comes from."""
    ledgers = (_ledger(plan, gpus) for gpus in alike(plan))
    sources = "\n".join(["Where the accuracy comes from:", *_sources(plan)])
    texts = [
        explain.headline(plan),
        _variants(plan),
        _limits(plan),
        *_speed(plan),
        *_money(plan),
        *_stages(plan),
        *_shared(plan),
        *_pinned(plan),
        *ledgers,
        *filter(None, [wrapped(explain.turns(plan))]),
        *_unseen(plan),
        *_faults(plan),
        wrapped(explain.reasons(plan)),
        sources,
    ]
    return "\n\n".join(texts)


def _stages(plan: Plan) -> Iterator[str]:
    """Say which servers are split into pipeline stages or data-parallel ranks, and where these are."""
    split = [server for server in plan.servers if server.shared_out]
    if split:
        yield "\n".join(fill(line, "", "  ") for line in _split_lines(split))


def _split_lines(split: Iterable[ServerPlan]) -> Iterator[str]:
    """Yield a line for each server, or for a role with many of them one that says where the first is."""
    roles: dict[str, list[ServerPlan]] = {}
    for server in split:
        roles.setdefault(server.role, []).append(server)
    for servers in roles.values():
        if len(servers) <= _FEW:
            yield from (f"{server.name}: {explain.stages(server)}" for server in servers)
        else:
            first = min(servers, key=lambda server: (len(server.name), server.name))
            yield f"{named(server.name for server in servers)}: each like {first.name}, {explain.stages(first)}"


def _shared(plan: Plan) -> Iterator[str]:
    """Say which servers do several roles, and how accurate they are at the further ones."""
    roles = {server.role: server for server in plan.servers if server.shared}
    if roles:
        lines = [
            fill(f"{server.role}: {one.name} too; {explain.accuracy(one.accuracy)}", "  ", "    ")
            for server in roles.values()
            for one in server.shared
        ]
        yield "\n".join(["One server for several roles:", *lines])


def _pinned(plan: Plan) -> Iterator[str]:
    """Say what roles pin of the engine, and how much host memory that sets aside for each of their servers."""
    roles = {server.role: _pins(server) for server in plan.servers if server.settings}
    if roles:
        lines = [fill(f"{role}: {text}", "  ", "    ") for role, text in roles.items()]
        yield "\n".join(["As the fleet asks:", *lines])


def _pins(server: ServerPlan) -> str:
    text, host = (
        explain.settings(server.settings),
        server.settings.host_bytes(len(server.gpus), server.data_parallel_size),
    )
    return f"{text}; {format_gib(host)} of host memory for each server" if host else text


def _unseen(plan: Plan) -> Iterator[str]:
    """Say for which servers the margin holds what a config that nobody has seen may add."""
    roles: dict[tuple[str, ...], dict[str, None]] = {}
    for server in plan.servers:
        if server.unseen:
            roles.setdefault(server.unseen, {})[server.role] = None
    if roles:
        lines = [
            fill(f"{listed(list(names))}: {listed([f'{UNSEEN[field]} ({field})' for field in fields])}", "  ", "    ")
            for fields, names in roles.items()
        ]
        head = "Where a checkpoint's config was not seen, the margin covers the largest weights, whatever it says on:"
        yield "\n".join([head, *lines])


def _faults(plan: Plan) -> Iterator[str]:
    """Name the known faults of the engine that the servers meet, and say why a serious one was not avoided."""
    roles: dict[KnownFault, list[str]] = {}
    for server in plan.servers:
        for fault in server.known_faults:
            names = roles.setdefault(fault, [])
            if server.role not in names:
                names.append(server.role)
    if not roles:
        return
    lines = [f"Known faults of {plan.engine} {plan.engine_version} that this plan meets:"]
    for fault, names in roles.items():
        kept = ". There is no plan without it." if fault.serious else ""
        lines.append(fill(f"{', '.join(names)}: {fault.account}{kept}", "  ", "    "))
    yield "\n".join(lines)


def _merged(rows: Iterable[tuple[ServerPlan, tuple[str, ...]]]) -> list[tuple[list[ServerPlan], tuple[str, ...]]]:
    """Put servers of a role together whose rows are alike."""
    found: dict[tuple[str, tuple[str, ...]], list[ServerPlan]] = {}
    for server, cells in rows:
        found.setdefault((server.role, cells), []).append(server)
    return [(servers, cells) for (_, cells), servers in found.items()]


def _names(servers: Iterable[ServerPlan]) -> str:
    return named(server.name for server in servers)


def _variants(plan: Plan) -> str:
    cells = ((s, (s.repository, s.scheme, _percent(s.accuracy.score), _recovery(s))) for s in plan.servers)
    return table(_VARIANTS, [(_names(servers), *row) for servers, row in _merged(cells)], frozenset({3}))


def _limits(plan: Plan) -> str:
    rows = [
        (_names(servers), numbered(server.port for server in servers), *row)
        for servers, row in _merged((server, _limits_of(server)) for server in plan.servers)
    ]
    return table(_LIMITS, rows, frozenset({3, 4, 5}))


def _limits_of(server: ServerPlan) -> tuple[str, ...]:
    return (
        server.kv_cache_dtype,
        format_tokens(server.max_model_len),
        f"{server.data_parallel_size} × " * (server.data_parallel_size > 1) + str(server.max_num_seqs),
        str(server.max_num_batched_tokens),
        _holds(server),
    )


def _speed(plan: Plan) -> Iterator[str]:
    """Say how fast each server is with all its requests running, where its role states their length."""
    known = [(server, server.speed) for server in plan.servers if server.speed]
    merged = _merged((server, _speed_row(server, speed)) for server, speed in known if not speed.reason)
    rows = [(_names(servers), *row) for servers, row in merged]
    lines = [table(_SPEED, rows, frozenset(range(1, 8)))] if rows else []
    lines += [
        fill(f"{_names(servers)}: nothing is said of its speed: {reason}", "", "  ")
        for servers, (reason,) in _merged((server, (speed.reason,)) for server, speed in known if speed.reason)
    ]
    bound = [server.name for server, speed in known if speed.busy_permille > 1000 and not speed.reason]
    if bound:
        text = "bounds, with all requests running and the other servers on the GPU busy all the time"
        lines.append(fill(f"{named(bound)}: {text}; the fast end of a range is that of idle neighbours", "", "  "))
    if lines:
        yield "\n".join(lines)


def _money(plan: Plan) -> Iterator[str]:
    """Say what the GPUs in use cost for an hour, and what a million tokens cost."""
    if plan.price:
        lines = [explain.price(plan.price), *([explain.money(plan.money)] if plan.money else [])]
        yield wrapped("\n".join(lines))


def _speed_row(server: ServerPlan, speed: ServerSpeed) -> tuple[str, ...]:
    """One server: tokens per second of one request, seconds to the first token, tokens per second of all requests."""
    tpot, ttft, output = speed.tpot_us, speed.ttft_us, speed.output_millitokens_per_second
    assert tpot and ttft and output
    return (
        f"{server.requests} of {server.request_tokens}",
        f"{1e6 / tpot.value:.1f}",
        f"{1e6 / tpot.high:.1f} to {1e6 / tpot.low:.1f}",
        f"{ttft.value / 1e6:.2f}",
        f"{ttft.low / 1e6:.2f} to {ttft.high / 1e6:.2f}",
        f"{output.value / 1e3:.0f}",
        f"{output.low / 1e3:.0f} to {output.high / 1e3:.0f}",
    )


def _holds(server: ServerPlan) -> str:
    """Say how many requests the KV cache holds at once: of the stated length, and of the full context."""
    full = f"{server.concurrency_full_context} of {format_tokens(server.max_model_len)}"
    if server.request_tokens == server.max_model_len:
        return full
    return f"{server.concurrency_request} of {format_tokens(server.request_tokens)}, or {full}"


def _percent(hundredths: int | None) -> str:
    return "unknown" if hundredths is None else f"{hundredths / 100:.1f}"


def _recovery(server: ServerPlan) -> str:
    accuracy = server.accuracy
    if accuracy.recovery_median is None:
        return "unknown"
    return f"{_percent(accuracy.recovery_median)} {accuracy.label}"


def _sources(plan: Plan) -> Iterator[str]:
    """Say on which scale the scores are, and whose figures stand behind them; once for roles that share them."""
    roles: dict[tuple[str, str], list[str]] = {}
    for server in plan.servers:
        names = roles.setdefault((_score_source(server), _recovery_source(server)), [])
        if server.role not in names:
            names.append(server.role)
    for (score, recovery), names in roles.items():
        yield fill(f"{', '.join(names)}: {score}", "  ", "    ")
        yield fill(recovery, "    ", "    ")


def _score_source(server: ServerPlan) -> str:
    accuracy = server.accuracy
    if accuracy.score is None:
        return "no published score"
    scale = "" if accuracy.scale == ASSUMED else f"on {accuracy.scale}: "
    return f"score {scale}{accuracy.score_source}"


def _recovery_source(server: ServerPlan) -> str:
    accuracy = server.accuracy
    certain = accuracy.recovery_floor in (None, accuracy.recovery_median)
    floor = "" if certain else f" (at least {_percent(accuracy.recovery_floor)} %)"
    source = f": {accuracy.source}" if accuracy.source else ""
    median = accuracy.recovery_median
    known = "unknown" if median is None else f"{_percent(median)} % {accuracy.label}"
    return f"recovery {known}{floor}{source}"


def _ledger(plan: Plan, gpus: tuple[GPULedger, ...]) -> str:
    """One GPU, or all alike: a row per server, what others use, what is free, and the total, their sum."""
    gpu = gpus[0]
    blank = [""] * len(TERMS)
    columns = zip(*(one.servers for one in gpus), strict=True)
    first = [(names, plan.server(names[0])) for names in columns]
    rows = [[servers_in_short(names, server.role), *_terms(server.ledger)] for names, server in first]
    if gpu.system_bytes:
        rows.append(["left to the system", *blank, *_amount(gpu.system_bytes)])
    if gpu.memory_in_use_bytes:
        rows.append(["in use by others", *blank, *_amount(gpu.memory_in_use_bytes)])
    if gpu.shared_bytes:
        rows.append(["taken in turns", *blank, *_amount(-gpu.shared_bytes)])
    rows.append(["free", *blank, *_amount(gpu.free_bytes)])
    rows.append(["total", *blank, *_amount(gpu.total_bytes)])
    where = gpus_in_short(plan, gpus) + " each" * (len(gpus) > 1)
    header = [f"{where}, GiB", *TERMS, "all", "bytes"]
    return table(header, rows, frozenset(range(1, len(header))))


def _terms(ledger: Ledger) -> list[str]:
    return [*(gib(getattr(ledger, field)) for field in TERMS.values()), *_amount(ledger.total_bytes)]


def _amount(value_bytes: int) -> tuple[str, str]:
    return gib(value_bytes), f"{value_bytes:,}"
