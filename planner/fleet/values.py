"""Single values of fleet.yaml: what people write -> checked Python values, or one sentence that says what is wrong.

Every reader takes the plain YAML value and returns what the planner works with. Its JSON Schema stands beside it, so
that an editor accepts what the reader accepts.
"""

import difflib
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, NoReturn

from pydantic_core import PydanticCustomError

from planner.fleet.fleet import PARALLEL_SIZES
from planner.units import GIB, ceil_div, format_tokens, parse_bytes, parse_tokens

MAX_TOKENS = 1 << 24
MAX_CONCURRENCY = 1 << 16
MAX_GPUS = 1 << 14
MAX_GPUS_PER_NODE = 128
MAX_NODES = 1 << 11
MAX_REPLICAS = 1 << 10
MAX_STAGES = 64
MAX_DATA_RANKS = 1 << 10
MAX_CONTEXT_RANKS = 16
MAX_DOLLARS = 1000
MAX_PURCHASE_DOLLARS = 1_000_000
MAX_YEARS = 20
MAX_WATTS = 10_000
_HOURS_OF_A_YEAR = 8766
"""365.25 days of 24 hours."""
MAX_WEIGHT = 1000
FIRST_PORT, LAST_PORT = 1024, 65535
MAX_MEMORY_BYTES = 1 << 50

NAME_PATTERN = "[a-z0-9][a-z0-9._-]{0,62}"
VERSION_PATTERN = r"[0-9]+\.[0-9]+\.[0-9]+(?:\.post[0-9]+|rc[0-9]+)?"
_TOKENS_PATTERN = r"^\s*[0-9]+(\.[0-9]+)?\s*[kKmM]?\s*$"
_BYTES_PATTERN = r"^\s*[0-9]+(\.[0-9]+)?\s*([KMGTkmgt][iI]?)?[bB]?\s*$"

TOKENS_SCHEMA = {
    "anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_TOKENS}, {"type": "string", "pattern": _TOKENS_PATTERN}]
}
BYTES_SCHEMA = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _BYTES_PATTERN}]}
NAME_SCHEMA = {"type": "string", "pattern": f"^{NAME_PATTERN}$"}
VERSION_SCHEMA = {"type": "string", "pattern": f"^{VERSION_PATTERN}$"}
TEXT_SCHEMA = {"type": "string", "minLength": 1}
PERCENT_SCHEMA = {"type": "number", "minimum": 0, "maximum": 100}
DOLLARS_SCHEMA = {"type": "number", "minimum": 0, "maximum": MAX_DOLLARS}
PURCHASE_SCHEMA = {"type": "number", "minimum": 0, "maximum": MAX_PURCHASE_DOLLARS}
YEARS_SCHEMA = {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_YEARS}
AUTO = "auto"


def wrong(message: str, hint: str = "") -> NoReturn:
    """Refuse a value with a message and a hint; ``load`` finds both in the error's context."""
    raise PydanticCustomError("planner", "{message}", {"message": message, "hint": hint})


def nearest(name: str, known: Iterable[str], count: int = 1) -> tuple[str, ...]:
    """Return up to ``count`` known names close to ``name``, closest first; upper and lower case are one."""
    spelled = {word.lower(): word for word in sorted(known)}
    return tuple(spelled[word] for word in difflib.get_close_matches(name.lower(), spelled, count, 0.6))


def suggestion(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return the hint for a name that is not known: the nearest one, or what ``otherwise`` says."""
    return " ".join([*(f"did you mean {near}?" for near in nearest(name, known)), otherwise]).strip()


def found(value: object) -> str:
    """Say what kind of value was found, quoted and cut so that no control character or flood reaches a terminal."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}…{text[-1]}"


def name(value: object) -> str:
    """Read a name that becomes file, unit, container and model names."""
    if not isinstance(value, str):
        wrong(f"expected a name, not {found(value)}")
    if refusal := name_refusal(value):
        wrong(*refusal)
    return value


def name_refusal(value: str) -> tuple[str, str] | None:
    """Return why a name is not safe in a shell, a path, YAML and systemd alike, with a hint; None when it is."""
    if re.fullmatch(NAME_PATTERN, value):
        return None
    hint = "a name becomes file, unit and model names: 1 to 63 of a-z 0-9 . _ - and a letter or digit first"
    return f"the name {found(value)} cannot be used", hint


def text(value: object) -> str:
    """Read non-empty text without control characters."""
    if not isinstance(value, str) or not value.strip():
        wrong(f"expected text, not {found(value)}")
    if not value.isprintable():
        wrong(f"the text {found(value)} contains characters that do not print")
    return value


def as_list(value: object) -> list[Any]:
    """Read one text as the list of itself; refuse what is no list, an empty list and an entry given twice."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        wrong(f"expected a name or a list of names, not {'an empty list' if value == [] else found(value)}")
    repeated = sorted({item for item in value if isinstance(item, str) and value.count(item) > 1})
    if repeated:
        wrong(f"{found(repeated[0])} is in the list twice")
    return value


def groups(value: object) -> tuple[tuple[str, ...], ...]:
    """Read a list of lists of names, such as ``[[writer, painter]]``, or one such list."""
    wanted = "a list of groups such as [[writer, painter]]"
    if not isinstance(value, list) or not value:
        wrong(f"expected {wanted}, not {'an empty list' if value == [] else found(value)}")
    lone = all(isinstance(item, str) for item in value)
    for group in [value] if lone else value:
        if not isinstance(group, list) or not all(isinstance(item, str) for item in group):
            wrong(f"expected {wanted}; {found(group)} is no list of names")
    return (tuple(value),) if lone else tuple(tuple(group) for group in value)


def boolean(value: object) -> bool:
    """Read true or false; ``yes`` and ``on`` are text."""
    if not isinstance(value, bool):
        wrong(f"expected true or false, not {found(value)}")
    return value


def tokens(value: object) -> int:
    """Read a token count such as ``16k``."""
    count = _quantity(value, parse_tokens, "a token count such as 16k or 4096")
    if not 1 <= count <= MAX_TOKENS:
        wrong(f"{found(value)} is not a token count from 1 to {format_tokens(MAX_TOKENS)}")
    return count


def size_bytes(value: object) -> int:
    """Read an amount of memory such as ``8GiB``."""
    size = _quantity(value, parse_bytes, "a size such as 8GiB or 512MiB")
    if size > MAX_MEMORY_BYTES:
        wrong(f"{found(value)} is more memory than any GPU has")
    if isinstance(value, int) and 0 < value < GIB // 1024:
        wrong(f"{found(value)} reads as {value} bytes", f"write the unit: {value}GiB or {value}MiB")
    return size


def _quantity(value: object, parse: Callable[[str | int], int], wanted: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        wrong(f"expected {wanted}, not {found(value)}")
    try:
        return parse(value)
    except ValueError:
        wrong(f"expected {wanted}, not {found(value)}")


def whole(low: int, high: int, what: str) -> Callable[[object], int]:
    """Return the reader of a whole number from ``low`` to ``high``; ``what`` names it with its article."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            wrong(f"expected {what} from {low} to {high}, not {found(value)}")
        return value

    return read


def percent(value: object) -> int:
    """Read a percentage as hundredths of a percent; a fraction such as 0.95 is refused: it would pass for 0.95 %."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        wrong(f"expected a percentage from 0 to 100, not {found(value)}")
    if isinstance(value, float) and 0 < value <= 1:
        wrong(f"{value} reads as {value} percent", f"write {value * 100:g} for {value * 100:g} percent")
    hundredths = Decimal(str(value)) * 100
    if hundredths != int(hundredths):
        wrong(f"expected a percentage with at most two decimals, not {found(value)}")
    return int(hundredths)


def microdollars(value: object) -> int:
    """Read an amount of US dollars as millionths of a dollar."""
    return _dollars(value, MAX_DOLLARS)


def purchase(value: object) -> int:
    """Read what something costs that is bought, in US dollars, as millionths of a dollar."""
    return _dollars(value, MAX_PURCHASE_DOLLARS)


def hours_of_years(value: object) -> int:
    """Read years, a part of one too, as hours, rounded down."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_YEARS:
        wrong(f"expected years, more than 0 and at most {MAX_YEARS}, not {found(value)}")
    return max(1, int(Decimal(str(value)) * _HOURS_OF_A_YEAR))


def _dollars(value: object, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        wrong(f"expected US dollars from 0 to {most}, not {found(value)}")
    micro = Decimal(str(value)) * 1_000_000
    if micro != int(micro):
        wrong(f"expected US dollars with at most six decimals, not {found(value)}")
    return int(micro)


_DURATIONS = {"us": 1, "ms": 1_000, "s": 1_000_000, "min": 60_000_000, "m": 60_000_000, "h": 3_600_000_000}
_PERIODS = {"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600}
DURATION_SCHEMA: dict[str, Any] = {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(us|ms|s|m|min|h)\s*$"}
RATE_SCHEMA: dict[str, Any] = {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*/\s*(s|sec|m|min|h)\s*$"}
SHARE_SCHEMA: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}
_MOST_MICROSECONDS = _DURATIONS["h"]
_MOST_MILLI_REQUESTS = 1_000_000_000


def duration(value: object) -> int:
    """Read a time such as ``50ms`` or ``2s`` as microseconds."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)\s*", value) if isinstance(value, str) else None
    if match is None or match[2] not in _DURATIONS:
        wrong(f"expected a time such as 50ms or 2s, not {found(value)}")
    microseconds = int(Decimal(match[1]) * _DURATIONS[match[2]])
    if not 1 <= microseconds <= _MOST_MICROSECONDS:
        wrong(f"{found(value)} is not a time from 1us to 1h")
    return microseconds


def rate(value: object) -> int:
    """Read requests per second, minute or hour, such as ``3/s``, as thousandths of a request per second, rounded up."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*/\s*([a-z]+)\s*", value) if isinstance(value, str) else None
    if match is None or match[2] not in _PERIODS:
        wrong(f"expected a rate such as 3/s or 90/min, not {found(value)}")
    milli = ceil_div(int(Decimal(match[1]) * 1_000_000), 1000 * _PERIODS[match[2]])
    if not 1 <= milli <= _MOST_MILLI_REQUESTS:
        wrong(f"{found(value)} is not a rate of at least 0.001/s")
    return milli


PERCENTILES = (50, 90, 99)


def percentile(value: object) -> int:
    """Read one of the percentiles that are known."""
    if isinstance(value, bool) or value not in PERCENTILES or not isinstance(value, int):
        wrong(f"expected one of {', '.join(map(str, PERCENTILES))}, not {found(value)}")
    return value


def share(value: object) -> int:
    """Read a share of the whole, 0 to 1, as thousandths."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        wrong(f"expected a share from 0 to 1, not {found(value)}")
    return round(value * 1000)


def auto_or(read: Callable[[object], int]) -> Callable[[object], int | None]:
    """Return a reader that also takes ``auto``, which is None: the planner chooses."""

    def reader(value: object) -> int | None:
        return None if value == AUTO else read(value)

    return reader


def sizes(read: Callable[[object], int]) -> Callable[[object], tuple[int, ...] | None]:
    """Return the reader of one size, a list of sizes, or ``auto``, which is None; sizes are sorted."""

    def reader(value: object) -> tuple[int, ...] | None:
        if value == AUTO:
            return None
        items = value if isinstance(value, list) else [value]
        if not items:
            wrong("expected auto, a size or a list of sizes, not an empty list")
        return tuple(sorted({read(item) for item in items}))

    return reader


def auto_or_boolean(value: object) -> bool | str:
    """Read ``auto``, true or false."""
    if value != AUTO and not isinstance(value, bool):
        wrong(f"expected auto, true or false, not {found(value)}")
    return AUTO if value == AUTO else value is True


def parallel_size(value: object) -> int:
    """Read a number of GPUs that one server splits every layer over."""
    if isinstance(value, bool) or not isinstance(value, int) or value not in PARALLEL_SIZES:
        known = ", ".join(map(str, PARALLEL_SIZES))
        wrong(f"expected auto or sizes out of {known}, not {found(value)}")
    return value


def choice(known: tuple[str, ...], what: str) -> Callable[[object], str]:
    """Return the reader of one word out of ``known``."""

    def read(value: object) -> str:
        if not isinstance(value, str):
            wrong(f"expected one of {', '.join(known)}, not {found(value)}")
        if value not in known:
            wrong(f"unknown {what} {found(value)}", suggestion(value, known, f"one of {', '.join(known)}"))
        return value

    return read


def word(value: object) -> str:
    """Read one word of letters, digits and underscores, such as the name of a backend."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_]+", value):
        wrong(f"expected one word, not {found(value)}")
    return value


def version(value: object) -> str:
    """Read an engine version; a number lost its zeros already, so only text with three parts is taken."""
    if not isinstance(value, str) or not re.fullmatch(VERSION_PATTERN, value):
        wrong(f"expected a version such as 0.33.0, not {found(value)}")
    return value
