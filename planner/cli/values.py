"""Values of ``planner estimate``'s options, read as the engine reads them."""

import json
import math
from collections.abc import Mapping

import click

from planner.engine.options import human_int
from planner.engine.speculation import METHODS, Speculation, read_speculation
from planner.tensors.kv_pages import known_dtype
from planner.units import GIB, parse_bytes, parse_tokens

_MOST_GIB = 1 << 20


def kv_cache_dtype(text: str) -> str:
    """Read the name of a KV cache dtype."""
    if not known_dtype(text):
        raise click.BadParameter(f"{text} is not a KV cache dtype whose cost is known")
    return text


def tokens(text: str) -> int:
    """Read a number of tokens, at least one."""
    try:
        found = parse_tokens(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not found:
        raise click.BadParameter("a server needs at least one token")
    return found


def gib(text: str) -> int:
    """Read GiB as bytes; infinity and what is not a number fail the comparison."""
    value = _number(text)
    if not 0 <= value <= _MOST_GIB:
        raise click.BadParameter(f"{text} is not in the range 0<=x<={_MOST_GIB}.")
    return round(value * GIB)


def size(text: str) -> int:
    """Read a size as ``--kv-cache-memory-bytes`` takes it (25g, 25G), or with a unit (25GiB)."""
    suffixed = text.strip()[-1:].isalpha() and text.strip()[-1:].lower() != "b"
    try:
        found = human_int(text) if suffixed else parse_bytes(text)
    except ValueError as error:
        raise click.BadParameter(f"{text} is not a size in bytes such as 8589934592, 8G or 8GiB.") from error
    if not 0 < found <= _MOST_GIB * GIB:
        raise click.BadParameter(f"{text} is not in the range 0<x<={_MOST_GIB} GiB.")
    return found


def share(text: str) -> float:
    """Read a share of the whole, more than none of it."""
    value = _number(text)
    if not 0 < value <= 1:
        raise click.BadParameter(f"{text} is not in the range 0<x<=1.")
    return value


def rate(text: str) -> float:
    """Read a positive number of requests per second."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise click.BadParameter(f"{text} is not a positive number of requests per second.")
    return value


def part(text: str) -> float:
    """Read a part of the whole, less than all of it."""
    value = _number(text)
    if not 0 <= value < 1:
        raise click.BadParameter(f"{text} is not in the range 0<=x<1.")
    return value


def limits(text: str) -> Mapping[str, int]:
    """Read ``--limit-mm-per-prompt``: items per prompt by kind, each a number or an object with a ``count``.

    Source: ``config/multimodal.py:_validate_limit_per_prompt`` 0.33.0.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"{text} is not JSON: {error}.") from error
    if not isinstance(document, dict):
        raise click.BadParameter(f"{text} is not a JSON object such as {_EXAMPLE}.")
    return {kind: _count(kind, value) for kind, value in document.items()}


_EXAMPLE = '{"image": 2, "video": 0}'


def speculation(text: str) -> Speculation:
    """Read ``--speculative-config``."""
    try:
        found = read_speculation((text,))
    except ValueError as error:
        raise click.BadParameter(f"{text} is not JSON: {error}.") from error
    if found is None:
        known = ", ".join(METHODS)
        raise click.BadParameter(f"{text} names no method that is sized ({known}), or no num_speculative_tokens.")
    return found


def _count(kind: str, value: object) -> int:
    # An object without a count leaves the number open (config/multimodal.py:BaseDummyOptions).
    count = value.get("count", 999) if isinstance(value, dict) else value
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise click.BadParameter(f"{kind}: {json.dumps(value)} is not a number of items such as in {_EXAMPLE}.")
    return count


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise click.BadParameter(f"'{text}' is not a valid float.") from error
