"""Drift: what running servers say, held against the plan they were started from."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from planner.adopt.arguments import read_arguments
from planner.artifacts.serve_args import serve_arguments
from planner.engine.options import engine_options
from planner.live.asked import Said
from planner.live.local import Process
from planner.plan import Plan, ServerPlan
from planner.units import format_gib

OK, DIFFERS, SAID = "ok", "differs", "said"
"""As planned; not as planned; said without a plan to hold it against."""
_OWN = frozenset({"host", "port", "model", "api-key"})
"""Options whose values the place where a server runs may choose."""


class Finding(Struct, frozen=True):
    """One thing of one server: what was planned, what was found, and whether that is as planned."""

    server: str
    what: str
    planned: str
    found: str
    state: str


def findings(
    plan: Plan, server: ServerPlan, said: Said, process: Process | None, held: Mapping[int, int] | None
) -> Iterator[Finding]:
    """Yield what a server says, each beside its plan; ``process`` and ``held`` where it runs on this machine."""
    name = server.name
    for reason in said.unreached:
        yield Finding(name, "answers", "yes", reason, DIFFERS)
    if said.version is not None:
        found = said.version.split("+")[0]
        yield _equal(name, "engine version", plan.engine_version, found)
    if said.models:
        state = OK if {*server.names} <= {*said.models} else DIFFERS
        yield Finding(name, "models", ", ".join(server.names), ", ".join(said.models), state)
    if said.max_model_len is not None:
        yield _equal(name, "context", server.max_model_len, said.max_model_len)
    if said.kv_cache_tokens is not None and not server.pooling:
        state = OK if said.kv_cache_tokens >= server.kv_cache_tokens else DIFFERS
        planned = f"at least {server.kv_cache_tokens:,}"
        yield Finding(name, "KV cache tokens", planned, f"{said.kv_cache_tokens:,}", state)
    if said.preemptions is not None:
        yield Finding(name, "preemptions", "0", f"{said.preemptions:,}", DIFFERS if said.preemptions else OK)
    if said.running is not None:
        yield Finding(name, "requests running", f"up to {server.requests}", f"{said.running}", SAID)
    if said.kv_cache_usage is not None:
        yield Finding(name, "KV cache in use", "", f"{said.kv_cache_usage:.0%}", SAID)
    if process is not None:
        yield from _flags(plan, server, process)
    for index, bytes_held in (held or {}).items():
        most = server.ledger.total_bytes
        state = OK if bytes_held <= most else DIFFERS
        yield Finding(name, f"memory of GPU {index}", f"up to {format_gib(most)}", format_gib(bytes_held), state)


def _equal(server: str, what: str, planned: Any, found: Any) -> Finding:  # noqa: ANN401 - two of one kind
    return Finding(server, what, str(planned), str(found), OK if planned == found else DIFFERS)


def _flags(plan: Plan, server: ServerPlan, process: Process) -> Iterator[Finding]:
    """Yield the options with which the process was started that the plan does not have, and the other way round."""
    options = engine_options(plan.engine_version)
    words = [word for argument in serve_arguments(server, options) for word in (argument.flag, *argument.words)]
    planned, found = (read_arguments(given, options).flags for given in (words, process.words))
    unlike = sorted(name for name in {*planned, *found} - _OWN if planned.get(name) != found.get(name))
    for name in unlike:
        yield Finding(server.name, f"--{name}", _shown(planned.get(name)), _shown(found.get(name)), DIFFERS)
    if not unlike:
        yield Finding(server.name, "options", "as planned", f"process {process.pid}", OK)


def _shown(value: Any) -> str:  # noqa: ANN401 - any value of an option
    return "not given" if value is None else re.sub(r"[\[\]']", "", str(value))
