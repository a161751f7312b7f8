"""A plan as the text that ``planner solve`` prints: who serves what, where every byte goes, how far it is proven."""

import textwrap
from collections.abc import Iterator

from planner import explain
from planner.cli.frame import table
from planner.plan import GPULedger, Ledger, Plan, ServerPlan
from planner.units import GIB, format_tokens

_SERVERS = (
    "role", "scheme", "KV cache", "context", "seqs", "batched", "at full", "at request", "score", "recovery", "port",
    "variant",
)  # fmt: skip
_WIDTH = 120
_SERVERS_RIGHT = frozenset({3, 4, 5, 6, 7, 8, 10})
_TERMS = {
    "baseline": "baseline_bytes",
    "weights": "weights_bytes",
    "KV cache": "kv_cache_bytes",
    "activation": "activation_bytes",
    "non-torch": "non_torch_bytes",
    "graphs": "cuda_graph_bytes",
    "margin": "margin_bytes",
}


def plan_text(plan: Plan) -> str:
    """Return the whole text: headline, servers, one ledger per GPU, what binds, where the accuracy comes from."""
    ledgers = (_ledger(plan, gpu) for gpu in plan.gpus)
    sources = "\n".join(["Where the accuracy comes from:", *_sources(plan)])
    return "\n\n".join([_headline(plan), _servers(plan), *ledgers, explain.reasons(plan), sources])


def _headline(plan: Plan) -> str:
    kinds = dict.fromkeys(gpu.gpu for gpu in plan.gpus)
    counts = [f"{sum(gpu.gpu == kind for gpu in plan.gpus)} × {kind}" for kind in kinds]
    proof = "proven best" if plan.proof.proven else "not proven best"
    where = f"{' and '.join(counts)} with {plan.engine} {plan.engine_version}"
    return f"{plan.fleet}: {proof} for {', then '.join(plan.objective)}, on {where}"


def _servers(plan: Plan) -> str:
    rows = [
        (
            server.name,
            server.scheme,
            server.kv_cache_dtype,
            format_tokens(server.max_model_len),
            str(server.max_num_seqs),
            str(server.max_num_batched_tokens),
            str(server.concurrency_full_context),
            f"{server.concurrency_request} of {format_tokens(server.request_tokens)}",
            _percent(server.accuracy.score),
            _recovery(server),
            str(server.port),
            server.repository,
        )
        for server in plan.servers
    ]
    return table(_SERVERS, rows, _SERVERS_RIGHT)


def _percent(hundredths: int | None) -> str:
    return "unknown" if hundredths is None else f"{hundredths / 100:.1f}"


def _recovery(server: ServerPlan) -> str:
    accuracy = server.accuracy
    if accuracy.recovery_median is None:
        return "unknown"
    return f"{_percent(accuracy.recovery_median)} {accuracy.label}"


def _sources(plan: Plan) -> Iterator[str]:
    """Say per role on which scale the score is, and whose figures stand behind it."""
    for server in plan.servers:
        accuracy = server.accuracy
        if accuracy.score is None:
            score = "no published score"
        else:
            score = f"score on {accuracy.scale}: {accuracy.score_source}"
        floor = "" if accuracy.recovery_floor is None else f" (at least {_percent(accuracy.recovery_floor)})"
        recovery = f"recovery {_recovery(server)}{floor}" + (f": {accuracy.source}" if accuracy.source else "")
        for number, text in enumerate((score, recovery)):
            begin = f"  {server.name if number == 0 else '':<{max(len(other.name) for other in plan.servers)}}  "
            yield textwrap.fill(text, _WIDTH, initial_indent=begin, subsequent_indent=" " * len(begin))


def _ledger(plan: Plan, gpu: GPULedger) -> str:
    """One GPU: a row per server, what others use, what is free, and the total, which is their sum to the byte."""
    blank = [""] * len(_TERMS)
    rows = [[name, *_terms(plan.server(name).ledger)] for name in gpu.servers]
    if gpu.memory_in_use_bytes:
        rows.append(["in use by others", *blank, *_amount(gpu.memory_in_use_bytes)])
    rows.append(["free", *blank, *_amount(gpu.free_bytes)])
    rows.append(["total", *blank, *_amount(gpu.total_bytes)])
    header = [f"GPU {gpu.index}, GiB", *_TERMS, "all", "bytes"]
    return table(header, rows, frozenset(range(1, len(header))))


def _terms(ledger: Ledger) -> list[str]:
    return [*(f"{getattr(ledger, field) / GIB:.2f}" for field in _TERMS.values()), *_amount(ledger.total_bytes)]


def _amount(value_bytes: int) -> tuple[str, str]:
    return f"{value_bytes / GIB:.2f}", f"{value_bytes:,}"
