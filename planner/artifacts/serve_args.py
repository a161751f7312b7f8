"""One server of a plan -> the ``vllm serve`` options that start it, the same for every artifact."""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from planner.engine.options import EngineOptions, option_refusal
from planner.engine.settings import read_settings, settings_options
from planner.engine.switching import DRAIN_SECONDS
from planner.fleet import STOP
from planner.plan import ServerPlan


class Argument(Struct, frozen=True):
    """One ``vllm serve`` option; ``value`` is empty for a switch, ``more`` the further values of a list."""

    flag: str
    value: str = ""
    more: tuple[str, ...] = ()

    @classmethod
    def of(cls, flag: str, words: Sequence[str]) -> "Argument":
        """Return an option with the words after it."""
        return cls(flag, words[0] if words else "", tuple(words[1:]))

    @property
    def words(self) -> tuple[str, ...]:
        """What follows the option."""
        return (self.value, *self.more) if self.value or self.more else ()

    @property
    def text(self) -> str:
        """What follows the option, as one text."""
        return " ".join(self.words)

    @property
    def joined(self) -> tuple[str, ...]:
        """The option as items of a list in YAML: one value is joined to it, of several each is an item."""
        if self.more:
            return (self.flag, *self.words)
        return (f"{self.flag}={self.value}" if self.value else self.flag,)


LOOPBACK, ALL_ADDRESSES = "127.0.0.1", "0.0.0.0"
"""Where a server listens on its machine, and in a container of its own."""
MASTER_ADDRESS, RANKS_ADDRESS = "--master-addr", "--data-parallel-address"
"""Options for the address of a server's first node: of pipeline stages, and of data-parallel ranks."""
MASTER_PORT, RANKS_PORT = "--master-port", "--data-parallel-rpc-port"
# The options that a server's facts become, and the facts.
_FIELDS = {
    "--port": "port",
    "--revision": "revision",
    "--dtype": "dtype",
    "--max-model-len": "max_model_len",
    "--max-num-seqs": "max_num_seqs",
    "--max-num-batched-tokens": "max_num_batched_tokens",
    "--kv-cache-dtype": "kv_cache_dtype",
    "--kv-cache-memory-bytes": "kv_cache_memory_bytes",
    "--gpu-memory-utilization": "gpu_memory_utilization",
    "--tensor-parallel-size": "tensor_parallel_size",
    "--pipeline-parallel-size": "pipeline_parallel_size",
    "--data-parallel-size": "data_parallel_size",
    "--decode-context-parallel-size": "context_parallel_size",
    MASTER_PORT: "master_port",
    "--reasoning-parser": "reasoning_parser",
    "--tool-call-parser": "tool_parser",
    "--hf-overrides": "hf_overrides",
    "--chat-template": "chat_template",
}
# Defaults of the engine that are not written.
_DEFAULTS: dict[str, str | int | float] = {
    "--pipeline-parallel-size": 1,
    "--data-parallel-size": 1,
    "--decode-context-parallel-size": 1,
}
_EXPERT_PARALLEL = "--enable-expert-parallel"
NAMES = "--served-model-name"
# How the server behaves around its work; added only where the engine version knows the option.
_OPERATIONS = (
    Argument("--shutdown-timeout", str(DRAIN_SECONDS)),
    Argument("--disable-access-log-for-endpoints", "/health,/metrics,/ping"),
    Argument("--disable-fastapi-docs"),
)


def serve_arguments(
    server: ServerPlan,
    options: EngineOptions,
    *,
    host: str = LOOPBACK,
    node_rank: int = 0,
    master_address: str = "",
) -> tuple[Argument, ...]:
    """Return the options that start one server exactly as planned; the model comes before them.

    A server on several nodes is one process on each; ``node_rank`` is the position of the node in ``server.nodes``, and
    ``master_address`` that of the first of them as the others reach it, its name when nothing is said. Only the process
    there answers requests, but for data-parallel ranks, which every node answers for itself.

    Numbers are plain integers, because a suffix means different things in upper and lower case. A value of zero or
    nothing is not written: a pooling server has no KV cache to size.
    """
    given: dict[str, str | int | float] = {flag: getattr(server, field) for flag, field in _FIELDS.items()}
    if server.data_parallel_size > 1:
        given[RANKS_PORT] = given.pop(MASTER_PORT)
    arguments = [
        Argument(flag, _plain(value)) for flag, value in given.items() if value and value != _DEFAULTS.get(flag)
    ]
    if len(server.nodes) > 1:
        arguments += _several_nodes(server, node_rank, master_address)
    if server.expert_parallel:
        arguments.append(Argument(_EXPERT_PARALLEL))
    arguments.insert(0, Argument("--host", host))
    arguments.insert(2 if server.port else 1, Argument.of(NAMES, server.names))
    if server.tool_parser:
        arguments.append(Argument("--enable-auto-tool-choice"))
    if server.pooling:
        arguments.append(Argument("--runner", "pooling"))
    if server.trust_remote_code:
        arguments += _remote_code(server)
    if server.asleep and server.asleep.how != STOP:
        arguments.append(Argument("--enable-sleep-mode"))
    own = [Argument.of(flag, words) for flag, words in settings_options(server.settings, options)]
    replaced = {argument.flag for argument in own}
    kept = [argument for argument in arguments if argument.flag not in replaced]
    return (*kept, *own, *(argument for argument in _OPERATIONS if argument.flag in options.flags))


def serve_environment(server: ServerPlan) -> tuple[str, ...]:
    """Return the variables of one server, each as ``NAME=VALUE``.

    The calls that put it to sleep are there in the mode for developers alone.
    """
    sleeps = server.asleep is not None and server.asleep.how != STOP
    return (*(("VLLM_SERVER_DEV_MODE=1",) if sleeps else ()), *server.settings.env)


def planned_server(server: ServerPlan, arguments: Iterable[Argument]) -> ServerPlan:
    """Return the server that these options start, in place of the planned one; the reverse of ``serve_arguments``.

    Facts that no option carries are taken over from ``server``; an option that carries none is not looked at.

    Raises:
        ValueError: a number is not one.
    """
    words = {argument.flag: argument.words for argument in arguments}
    values = {MASTER_PORT if flag == RANKS_PORT else flag: found[0] for flag, found in words.items() if found}
    facts: dict[str, Any] = {
        "settings": read_settings(words, server.settings),
        "expert_parallel": _EXPERT_PARALLEL in words,
    }
    names = words.get(NAMES, ())
    facts["role"] = names[0] if names else ""
    facts["shared"] = tuple(one for one in server.shared if one.name in names)
    for flag, field in _FIELDS.items():
        kind = type(getattr(server, field))
        facts[field] = kind(values[flag]) if flag in values else _DEFAULTS.get(flag, kind())
    return replace(server, **facts)


def refused_arguments(arguments: Iterable[Argument], options: EngineOptions) -> tuple[str, ...]:
    """Return one sentence for each option or value that the engine version does not have."""
    found = (option_refusal(argument.flag, argument.words, options) for argument in arguments)
    return tuple(filter(None, found))


def _several_nodes(server: ServerPlan, node_rank: int, master_address: str) -> list[Argument]:
    """Join the processes of a server's nodes; of stages all but the first have no API of their own.

    Every node gets the same number of ranks, in the order of the nodes (``local_world_size`` in ``config/parallel.py``,
    0.12.0 to 0.33.0; older versions need Ray).
    """
    if server.data_parallel_size > 1:
        return _own_ranks(server, node_rank, master_address)
    joined = [
        Argument("--nnodes", str(len(server.nodes))),
        Argument("--node-rank", str(node_rank)),
        Argument(MASTER_ADDRESS, master_address or server.node),
    ]
    return [*joined, Argument("--headless")] if node_rank else joined


def _own_ranks(server: ServerPlan, node_rank: int, master_address: str) -> list[Argument]:
    """Give every node its data-parallel ranks, and an API that deals out requests to these alone.

    Source: ``data_parallel_hybrid_lb`` in ``engine/arg_utils.py:create_engine_config`` 0.11.0 to 0.33.0; with a single
    rank on each node the engine makes external balancing of it.
    """
    local = server.data_parallel_size // len(server.nodes)
    return [
        Argument("--data-parallel-size-local", str(local)),
        Argument("--data-parallel-start-rank", str(node_rank * local)),
        Argument(RANKS_ADDRESS, master_address or server.node),
        Argument("--data-parallel-hybrid-lb"),
    ]


def _remote_code(server: ServerPlan) -> list[Argument]:
    """Let the checkpoint's own code run, from the pinned commit only when there is one."""
    pinned = ("--code-revision", "--tokenizer-revision") if server.revision else ()
    return [Argument("--trust-remote-code"), *(Argument(flag, server.revision) for flag in pinned)]


def _plain(value: str | int | float) -> str:
    """Write a number without exponent or trailing zeros."""
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    return str(value)
