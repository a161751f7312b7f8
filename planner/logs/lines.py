"""Lines of a log as the engine wrote them: what containers, journals and terminals put around them is taken off.

A log is read in pieces of bounded size, so that neither its length nor that of one line costs memory. A progress bar
redraws its line with a carriage return; each drawing is a line here.
"""

import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from msgspec import Struct
from msgspec.structs import replace

_PIECE = 1 << 16
MAX_LINE = 1 << 14
"""Characters that are kept of one line; the lists of architectures that the engine prints are longer than of use."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"
_AROUND = re.compile(
    "|".join(
        (
            r"([\w.@/-]+) +\| ?",  # docker compose logs, docker service logs
            r"\[((?:pod|container)/[^\]]+)\] ",  # kubectl logs --prefix
            rf"{_TIME} (?:stdout|stderr) [FP] ",  # files of a container runtime
            rf"{_TIME} \S+ ([\w.@-]+)\[\d+\]: ",  # journalctl -o short-iso
            r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ ([\w.@-]+)\[\d+\]: ",  # journalctl, syslog
            rf"{_TIME}[ \t]+(?![-,])",  # docker logs -t, kubectl logs --timestamps
            r"([\w.-]+) [\w.-]+ (?=\((?:APIServer|EngineCore|Worker)|(?:INFO|ERROR|WARNING|DEBUG) \d)",  # stern
        )
    )
)
"""What stands around a line; its group is the source, where that is named."""
_PROCESS = re.compile(r"\((?P<name>[A-Za-z][\w.]*)[^()]*?\bpid=(?P<pid>\d{1,9})[^()]*\) ?")
_BARE = ("(", " ", "INFO", "DEBUG", "WARNING", "ERROR", "Traceback")
"""How most lines begin that have nothing around them."""
_RANK = re.compile(r"\[rank\d+\]: ")
_LEVEL = re.compile(
    r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL)"
    r"(?:: +| (?:\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? )?(?:\[[^\]]+|[\w.]+:\d+)\] ?)"
)
_TEXTS = ("log", "message", "msg", "MESSAGE", "line", "text")
"""Where JSON lines of container runtimes, journals and loggers keep what was written."""
_TRACEBACKS = ("exc_info", "exc_text", "exception", "stack_trace")
_LEVELS = ("levelname", "level", "severity")
_KNOWN_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class Line(Struct, frozen=True):
    """One line: its number from 1, the server it came from as far as it is told apart, its process, level and text.

    ``outer`` and ``pid`` are of the outermost process: a worker's lines may have passed through its engine core.
    """

    number: int
    source: str
    process: str
    level: str
    text: str
    outer: str = ""
    pid: int = 0


def read_lines(stream: BinaryIO) -> Iterator[Line]:
    """Yield the lines of a log; bytes that are no UTF-8 are replaced, control characters and escapes are left out."""
    for number, text in _numbered(stream):
        line = _line(number, text)
        if "\n" in line.text:
            yield from (replace(line, text=one.rstrip()) for one in line.text.split("\n"))
        else:
            yield line


def plain(text: str) -> str:
    """Return a text without terminal escapes and control characters, cut at MAX_LINE characters."""
    text = text[:MAX_LINE]
    return text if text.isprintable() else _CONTROL.sub("", _ESCAPES.sub("", text))


def _numbered(stream: BinaryIO) -> Iterator[tuple[int, str]]:
    """Yield texts with the number of the line they are on; what is beyond MAX_LINE of one is dropped as it comes."""
    number, kept = 1, bytearray()
    while piece := stream.read(_PIECE):
        for part in piece.splitlines(keepends=True):
            bare = part.rstrip(b"\r\n")
            if room := 4 * MAX_LINE - len(kept):
                kept += bare[:room]
            if len(bare) < len(part):
                yield number, kept.decode("utf-8", "replace")
                number += part.endswith(b"\n")
                kept.clear()
    if kept:
        yield number, kept.decode("utf-8", "replace")


def _line(number: int, text: str) -> Line:
    source = process = level = outer = ""
    pid = 0
    text = plain(text)
    if text.startswith("{"):
        text, level = _from_json(text)
    for _ in range(0 if text.startswith(_BARE) else 4):
        found = _AROUND.match(text)
        if found is None:
            break
        source = next(filter(None, found.groups()), source)
        text = text[found.end() :]
        if text.startswith("{"):
            text, level = _from_json(text)
    while match := _PROCESS.match(text):
        process, text = match["name"], text[match.end() :]
        outer, pid = outer or process, pid or int(match["pid"])
    if match := _RANK.match(text):
        text = text[match.end() :]
    if match := _LEVEL.match(text):
        level, text = match["level"], text[match.end() :]
    return Line(number, source, process, level, text.rstrip(), outer, pid)


def _from_json(text: str) -> tuple[str, str]:
    """Return what a JSON line says, its traceback included, and its level; or the text when it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text, ""
    said = [value[key] for key in _TEXTS if isinstance(value.get(key), str)][:1]
    said += [value[key] for key in _TRACEBACKS if isinstance(value.get(key), str)]
    level = next((value[key] for key in _LEVELS if isinstance(value.get(key), str)), "").upper()
    return (plain("\n".join(said)), level if level in _KNOWN_LEVELS else "") if said else (text, "")
