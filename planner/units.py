"""Bytes and tokens as integers: parse what people write, print what people read.

GiB is 2**30 bytes. In a token count ``k`` is 1024, because context lengths are powers of two (``16k`` = 16384).
"""

import re

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
BILLION = 10**9
"""What sizes of models (8B) and bandwidths (GB/s) are counted in."""

_BYTES = {
    "": 1, "b": 1,
    "kib": KIB, "mib": MIB, "gib": GIB, "tib": 1 << 40,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
}  # fmt: skip
_TOKENS = {"": 1, "k": 1 << 10, "m": 1 << 20}
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


def parse_bytes(text: str | int) -> int:
    """Read a size such as ``8GiB``, ``512 MiB`` or ``24GB``; a bare number is bytes.

    Raises:
        ValueError: the text is not a non-negative whole number of bytes with a known unit.
    """
    return _parse(text, _BYTES, "a size such as 8GiB or 512MiB")


def parse_tokens(text: str | int) -> int:
    """Read a token count such as ``16k`` (16384), ``1m`` or ``4096``.

    Raises:
        ValueError: the text is not a non-negative whole number of tokens.
    """
    return _parse(text, _TOKENS, "a token count such as 16k or 4096")


def gib(value_bytes: int) -> str:
    """Print bytes as GiB without the unit, such as ``17.25``: rounded to the nearest, as the engine's log does it.

    Every amount that is there or taken is printed by this function, so that the same bytes read the same everywhere.
    """
    return f"{value_bytes / GIB:.2f}"


def format_gib(value_bytes: int) -> str:
    """Print bytes as GiB, such as ``17.25 GiB``; what would round to nothing in bytes."""
    if not value_bytes or float(gib(value_bytes)):
        return f"{gib(value_bytes)} GiB"
    return f"{value_bytes:,} byte{'s' * (value_bytes > 1)}"


def format_missing(value_bytes: int) -> str:
    """Print bytes that somebody would have to find: rounded up, so that what is printed suffices."""
    return f"{ceil_div(value_bytes * 100, GIB) / 100:.2f} GiB"


def format_apart(needed_bytes: int, there_bytes: int) -> tuple[str, str]:
    """Print what is needed beside the less that is there, with the digits that it takes to tell them apart."""
    texts = (format_gib(needed_bytes), format_gib(there_bytes))
    return texts if texts[0] != texts[1] else (f"{needed_bytes:,} bytes", f"{there_bytes:,} bytes")


def format_tokens(tokens: int) -> str:
    """Print a token count the way ``parse_tokens`` reads it back: ``16k`` when exact, else all digits."""
    for unit, factor in (("m", 1 << 20), ("k", 1 << 10)):
        if tokens >= factor and tokens % factor == 0:
            return f"{tokens // factor}{unit}"
    return str(tokens)


def format_time(microseconds: int) -> str:
    """Print a time as a fleet file has it: ``50ms``, ``2s``."""
    if microseconds % 1_000_000 == 0:
        return f"{microseconds // 1_000_000}s"
    return f"{round(microseconds / 1000, 1):g}ms"


def format_rate(milli_requests: int) -> str:
    """Print thousandths of a request per second as a fleet file has them: ``3/s``."""
    return f"{milli_requests / 1000:g}/s"


def ceil_div(numerator: int, denominator: int) -> int:
    """Divide rounding up; both integers, the denominator positive."""
    return -(-numerator // denominator)


def _parse(text: str | int, units: dict[str, int], wanted: str) -> int:
    if isinstance(text, bool) or not isinstance(text, int | str):
        raise ValueError(f"expected {wanted}")
    if isinstance(text, int):
        if text < 0:
            raise ValueError(f"expected {wanted}, not a negative number")
        return text
    match = _QUANTITY.fullmatch(text)
    factor = units.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"expected {wanted}")
    whole, _, part = match[1].partition(".")
    parts: int = 10 ** len(part)
    value, rest = divmod(int(whole + part) * factor, parts)
    if rest:
        raise ValueError(f"expected {wanted}: {text.strip()} is not a whole number")
    return value
