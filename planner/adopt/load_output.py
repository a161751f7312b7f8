"""What the planner's own load.sh prints -> the load test of each server it names, or why it teaches nothing.

Lines are those of ``templates/script/load.sh.j2``. Where a plan states no range the figures are whole numbers, cut off:
the next slower one is taken.
"""

import re
from collections.abc import Iterable

from msgspec import Struct

from planner.adopt.load_result import LoadResult

_LINE = re.compile(r"^(ok|SLOW|FAIL) +(\S+) +(.*)$")
_ASKED = re.compile(r"^\d+ requests of (\d+) \+ (\d+) tokens, (\d+) at once, all answered$")
_MEASURED = re.compile(
    r"^measured: \d+ tokens/s in all, (\d+) of them written; first token after (\d+) ms \(.*\), then every (\d+) ms \("
)
_RUNNING = re.compile(r"^requests at once: (\d+), planned (\d+)")
_EXACTLY = {
    "ttft_ms": re.compile(r"^first token after ([0-9.]+) ms, planned "),
    "tpot_ms": re.compile(r"^a token every ([0-9.]+) ms, planned "),
    "output": re.compile(r"^written ([0-9.]+) tokens/s, planned "),
}


class LoadOutput(Struct, frozen=True):
    """One server of an output: its name, and what was measured of it or why that teaches nothing."""

    server: str
    found: LoadResult | str


def load_output(lines: Iterable[str]) -> tuple[LoadOutput, ...]:
    """Return the servers that an output of load.sh tells of, in its order; none where it is something else."""
    said: dict[str, list[str]] = {}
    for line in lines:
        if match := _LINE.match(line.rstrip()):
            said.setdefault(match[2], []).append(f"FAIL {match[3]}" if match[1] == "FAIL" else match[3])
    return tuple(LoadOutput(name, _server(own)) for name, own in said.items())


def _server(lines: list[str]) -> LoadResult | str:
    failed = next((line for line in lines if line.startswith("FAIL ")), None)
    if failed:
        return failed.removeprefix("FAIL ")
    asked = next((match for line in lines if (match := _ASKED.match(line))), None)
    whole = next((match for line in lines if (match := _MEASURED.match(line))), None)
    if asked and asked[2] == "0":
        return "it writes no tokens"
    running = next((match for line in lines if (match := _RUNNING.match(line))), None)
    if running and int(running[1]) < int(running[2]):
        return f"{running[1]} of {running[2]} requests were seen running at once"
    if not (asked and whole):
        return "it does not say what was asked and measured"
    exact = {name: float(match[1]) for name, form in _EXACTLY.items() for line in lines if (match := form.match(line))}
    found = LoadResult(
        model="",
        input_tokens=int(asked[1]),
        output_tokens=int(asked[2]),
        concurrency=int(asked[3]),
        output_tokens_per_s=exact.get("output", float(whole[1])),
        ttft_ms=exact.get("ttft_ms", float(whole[2]) + 1),
        tpot_ms=exact.get("tpot_ms", float(whole[3]) + 1),
    )
    if not found.output_tokens_per_s:
        return "less than one token was written in a second"
    if found.ttft_ms > found.output_tokens * found.tpot_ms:
        return "requests wait longer for their first token than for all others: the server was full"
    return found
