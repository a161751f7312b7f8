"""Diagnosis: how far every server of a log came, and the line that decides why it went no further.

A log is read once, line by line. What is kept of a server is bounded: its version, settings and figures, how far it is,
and for each rank of evidence the first line. A server that starts again begins anew; its last start is what counts.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct, field

from planner.logs.causes import ERROR, FAILED, FORMS, NEVER, OUT_OF_MEMORY, TRIED
from planner.logs.figures import Figure, arguments, figures, model, version
from planner.logs.lines import Line
from planner.logs.processes import Processes

CONFIGURING, LOADING, PROFILING, CAPTURING, SERVING = range(5)
"""How far a server came, in order."""

_REACHED = (
    (re.compile(r"Starting to load model|Loading safetensors checkpoint shards|Loading model weights"), LOADING),
    (re.compile(r"Model loading took"), PROFILING),
    (re.compile(r"KV cache size: [\d,]+ tokens|# (?:GPU|cuda|CUDA) blocks:"), CAPTURING),
    (re.compile(r"Application startup complete|Avg prompt throughput"), SERVING),
)
_BEGINS = re.compile(r"vLLM (?:API )?server version|█\s+version\s|non-default args: |args: Namespace")
_CAPTURE_BAR = re.compile(r"Capturing CUDA ?graphs?[^|]*?(?P<percent>\d+)%\|")
_FRAME = re.compile(r"File \"[^\"]+\", line \d+, in (?P<name>\w+)")
_CAPTURE_FRAMES = frozenset(
    {"capture_model", "capture", "_capture_cudagraphs", "capture_graphs", "profile_cudagraph_memory"}
)
_WHERE = (
    (frozenset({"load_model", "load_weights", "process_weights_after_loading"}), "weights_do_not_fit"),
    (frozenset({"_dummy_sampler_run", "_dummy_pooler_run", "warmup_sampler"}), "sampler_warmup_oom"),
    (frozenset({"initialize_kv_cache", "_allocate_kv_cache_tensors", "initialize_from_config"}), "no_memory_for_cache"),
    (_CAPTURE_FRAMES, "graph_capture_oom"),
    (frozenset({"profile_run", "determine_available_memory", "determine_num_available_blocks"}), "no_memory_for_cache"),
    (frozenset({"execute_model", "_execute_model", "step"}), "runtime_oom"),
)
"""Functions of a traceback, the innermost decision first, and what running out of memory below them is."""
_BY_PHASE = ("unknown", "weights_do_not_fit", "no_memory_for_cache", "graph_capture_oom", "runtime_oom")
_SETTINGS = ("gpu_memory_utilization", "max_num_seqs", "tensor_parallel_size", "pipeline_parallel_size")
_CALM = ("INFO", "DEBUG")
"""Levels on which the engine never says why it ends."""
_SOURCE = "    "
"""How a line of source begins in a traceback: it has the words of errors that may not have happened."""
_KEPT_SERVERS = 64
_LAST_RESORT = 9


class Evidence(Struct, frozen=True):
    """A line that shows a cause."""

    cause: str
    rank: int
    line: Line
    figures: dict[str, Figure]


class Diagnosis(Struct, frozen=True, kw_only=True):
    """What happened to one server: the cause, the line that decides, what it was started with and its figures.

    ``source`` is the name a container runtime or journal gave it, empty where the log is of one server.
    """

    source: str
    cause: str
    line: Line | None
    version: str | None
    model: str | None
    arguments: dict[str, Any]
    figures: dict[str, Figure]


class _Server(Struct):
    """What is known of a server so far."""

    source: str
    phase: int = CONFIGURING
    version: str | None = None
    model: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    evidence: Evidence | None = None
    frames: set[str] = field(default_factory=set)
    bar: Line | None = None
    started: Line | None = None
    error: Line | None = None
    last: Line | None = None
    ended: bool = False

    def begins_again(self) -> bool:
        """Whether something was printed that only a server which is up or has failed prints."""
        return self.ended or self.evidence is not None or self.phase > CONFIGURING


def diagnose(lines: Iterable[Line]) -> tuple[Diagnosis, ...]:
    """Return what happened to every server of a log, in the order of their first lines."""
    servers: dict[tuple[str, str], _Server] = {}
    processes = Processes()
    for line in lines:
        for process, own in (("", line),) if line.source else processes.sorted_out(line):
            _take(servers, process, own)
    for process, own in processes.rest():
        _take(servers, process, own)
    if names := processes.names():
        for key in [key for key in servers if not key[0] and key[1] not in names]:
            del servers[key]
        for (source, process), server in servers.items():
            server.source = source or names[process]
    told = [found for found in servers.values() if _says_something(found)] or list(servers.values())[:1]
    return tuple(_conclude(found) for found in told)


def _take(servers: dict[tuple[str, str], _Server], process: str, line: Line) -> None:
    """Take in one line of a server; one that starts again begins anew."""
    key = (line.source, process)
    if key not in servers and len(servers) >= _KEPT_SERVERS:
        key = ("", "")
    server = servers.setdefault(key, _Server(key[0]))
    if _BEGINS.search(line.text) and server.begins_again():
        server = servers[key] = _Server(key[0])
    _read(server, line)


def _says_something(server: _Server) -> bool:
    return bool(server.version or server.evidence or server.phase > CONFIGURING or server.error)


def _read(server: _Server, line: Line) -> None:
    """Take in one line."""
    text = line.text
    if not text or (line.level in _CALM and server.phase == SERVING):
        return
    server.last = line
    if frame := _FRAME.search(text):
        server.frames.add(frame["name"])
        return
    server.version = version(text) or server.version
    server.model = server.model or model(text)
    if (given := arguments(text)) is not None:
        server.arguments = given
        server.model = _text(given.get("model")) or _text(given.get("model_tag")) or server.model
    server.figures |= figures(text)
    for pattern, phase in _REACHED:
        if pattern.search(text):
            server.phase = max(server.phase, phase)
            if phase == SERVING and server.started is None:
                server.started, server.evidence, server.error = line, None, None
    if text.startswith("Traceback (most recent call last)"):
        server.frames.clear()
    if bar := _CAPTURE_BAR.search(text):
        server.bar = None if bar["percent"] == "100" else line
    _look_for_failure(server, line)


def _look_for_failure(server: _Server, line: Line) -> None:
    text = line.text
    if NEVER.search(text):
        return
    server.ended = server.ended or bool(FAILED.search(text))
    for found in _shown(server, line):
        if server.evidence is None or found.rank < server.evidence.rank:
            server.evidence = found
        elif server.evidence.cause == found.cause:
            server.evidence.figures.update({**found.figures, **server.evidence.figures})
    if ERROR.match(text) and not FAILED.search(text) and server.error is None:
        server.error = line


def _shown(server: _Server, line: Line) -> Iterator[Evidence]:
    """Yield the causes that a line shows."""
    if line.level in _CALM or line.text.startswith(_SOURCE):
        return
    for form in FORMS:
        if match := form.pattern.search(line.text):
            yield Evidence(form.cause, form.rank, line, form.figures(match))
            return
    if OUT_OF_MEMORY.search(line.text):
        tried = TRIED.search(line.text)
        given = {name: float(value) for name, value in tried.groupdict().items() if value} if tried else {}
        cause = _where(server)
        decisive = server.bar if cause == "graph_capture_oom" and server.bar else line
        yield Evidence(cause, 1 if cause != "unknown" else _LAST_RESORT, decisive, dict(given))


def _where(server: _Server) -> str:
    """Return what running out of memory is, by the functions of the traceback and how far the server came."""
    if server.phase == SERVING:
        return "runtime_oom"
    for names, cause in _WHERE:
        if server.frames & names:
            return cause
    return _BY_PHASE[server.phase]


def _conclude(server: _Server) -> Diagnosis:
    found = server.evidence
    cause, line, given = "unknown", server.error or server.last, dict[str, Figure]()
    if found:
        cause, line, given = found.cause, found.line, found.figures
    elif server.started and not server.ended:
        cause, line = "started", server.started
    given = {**_settings(server.arguments, cause), **given}
    return Diagnosis(
        source=server.source,
        cause=cause,
        line=line,
        version=server.version,
        model=server.model,
        arguments=server.arguments,
        figures={**server.figures, **given},
    )


def _settings(given: dict[str, Any], cause: str) -> dict[str, Figure]:
    """Return the settings that bear on memory, and the port where it was taken: the message does not say which."""
    found: dict[str, Figure] = {name: given[name] for name in _SETTINGS if isinstance(given.get(name), int | float)}
    return {"port": int(given.get("port") or 8000), **found} if cause == "port_in_use" else found


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
