"""Processes: which server each line of a log is of, where several write into one and nothing but their pids differs.

Every line of the engine's processes begins with their name and pid (vllm/utils/system_utils.py ``decorate_logs``, from
0.10 on). Each API server is a server. Nothing says which engine cores and workers are whose: a core is that of the
server whose model it names, and of several such the first that has none yet, because each server starts its own.
"""

from collections.abc import Iterator

from msgspec import Struct, field

from planner.logs.causes import FAILED
from planner.logs.figures import arguments, model
from planner.logs.lines import Line

_API_SERVER = "APIServer"
_CORE = "EngineCore"
_CALM = "INFO"
_KEPT_SERVERS = 32
_HELD_LINES = 200
"""A core names its model among its first lines; so many are held back until it does."""


class _Own(Struct):
    """What is known of one API server: its pid, its model, how many cores it has, and the span of its lines."""

    pid: int
    first: int
    last: int
    model: str = ""
    cores: int = 0
    ended: bool = False


class Processes(Struct):
    """The processes of a log so far. The key of a server is its API server's pid as text, of the first empty."""

    _servers: list[_Own] = field(default_factory=list)
    _owner: dict[int, _Own] = field(default_factory=dict)
    _held: dict[int, list[Line]] = field(default_factory=dict)
    _speaking: _Own | None = None

    def sorted_out(self, line: Line) -> Iterator[tuple[str, Line]]:
        """Yield the lines that can be said to be of a server now that one more is read, each with the server's key."""
        if line.outer == _API_SERVER and line.pid not in self._owner:
            self._owner[line.pid] = self._new(line)
        owner = self._owner.get(line.pid) if line.pid else self._speaking
        if owner is None and line.pid and len(self._servers) > 1:
            held = self._held.setdefault(line.pid, [])
            held.append(line)
            if model(line.text) or len(held) >= _HELD_LINES:
                yield from self._released(line.pid)
            return
        if owner is None and line.pid and self._servers:
            owner = self._owned(line.pid, line)
        yield self._key(owner), line
        if owner:
            self._take(owner, line)

    def rest(self) -> Iterator[tuple[str, Line]]:
        """Yield the lines that were held back until the end."""
        for pid in tuple(self._held):
            yield from self._released(pid)

    def names(self) -> dict[str, str]:
        """Return a name for each server by key, none for one alone; those after which another began are left out."""
        last = [one for one in self._servers if not any(later.first > one.last for later in self._servers)]
        return {self._key(one): f"pid {one.pid}" if len(last) > 1 else "" for one in last}

    def _new(self, line: Line) -> _Own:
        """Return the server of an API server that speaks for the first time: it takes the place of one that failed."""
        ended = next((one for one in self._servers if one.ended), None)
        if ended or len(self._servers) >= _KEPT_SERVERS:
            own = ended or self._servers[-1]
            own.ended, own.cores, own.model = False, 0, ""
            return own
        self._servers.append(_Own(line.pid, line.number, line.number))
        return self._servers[-1]

    def _owned(self, pid: int, line: Line) -> _Own:
        """Say whose a core or worker is, and remember it."""
        named = model(line.text)
        alike = [one for one in self._servers if named and one.model == named] or self._servers
        if line.outer.startswith(_CORE):
            own = min(alike, key=lambda one: one.cores)
            own.cores += 1
        else:
            own = max(alike, key=lambda one: (one.cores, one.first))
        self._owner[pid] = own
        return own

    def _released(self, pid: int) -> Iterator[tuple[str, Line]]:
        held = self._held.pop(pid)
        own = self._owned(pid, held[-1])
        for line in held:
            self._take(own, line)
            yield self._key(own), line

    def _take(self, own: _Own, line: Line) -> None:
        own.last = max(own.last, line.number)
        if line.level != _CALM:
            own.ended = own.ended or bool(FAILED.search(line.text))
        if not own.model:
            given = (arguments(line.text) if line.outer == _API_SERVER else None) or {}
            own.model = str(given.get("model") or given.get("model_tag") or model(line.text) or "")
        if line.pid:
            self._speaking = own

    def _key(self, own: _Own | None) -> str:
        return "" if own is None or own is self._servers[0] else str(own.pid)
