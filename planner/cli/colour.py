"""Colour by meaning, for text that is laid out already: what is good, bad, doubtful or advice, and what heads a part.

Everything is said in words too. ``click.echo`` takes the colours out again where none are shown.
"""

import functools
import re

import click

from planner.cli.terminal import coloured
from planner.cli.text import fitted

_GOOD, _BAD, _DOUBT, _ADVICE, _HEAD = "good", "bad", "doubt", "advice", "head"
_STYLES = {
    _GOOD: {"fg": "green"},
    _BAD: {"fg": "red", "bold": True},
    _DOUBT: {"fg": "yellow"},
    _ADVICE: {"fg": "cyan"},
    _HEAD: {"bold": True},
}
_MEANINGS = (
    (r"\b(?:interrupted, )?not proven(?: best)?\b|\bcannot be told\b|\bexpected not to start\b", _DOUBT),
    (r"(?<=:)\s+(?:proven best\b|(?:starts|starts the plan|not changed since the plan)$)|(?<=  )proven(?=  )", _GOOD),
    (r"^no plan exists for .*|^error: |(?<=:)\s+(?:does not start|did not start|no variant can serve it)\b", _BAD),
    (r"\bdiffers$|(?<=  )none(?=  )", _BAD),
    (r"^\s*(?:known fault|note|close call): |^Close calls:$|^Known faults of .*:$", _DOUBT),
    (r"^\s*hint: |^Next: ", _ADVICE),
    (r"^[A-Z][\w ,.'-]*:$|^.*GPU \d.*, GiB {2}.*$|^(?:role|point|scenario|server|MODEL|GPU) {2,}\S.*$", _HEAD),
)
"""What is found in a line -> what it means; the first that fits a place colours it."""

_VERBS = {"create": _GOOD, "overwrite": _DOUBT, "remove": _DOUBT, "conflict": _BAD, "skip": _DOUBT}


def shown(text: str) -> str:
    """Return a text as a terminal shows it: no line wider than it is, and coloured."""
    return painted(fitted(text))


def painted(text: str) -> str:
    """Return a text with colours, where some stream shows them."""
    return _pattern().sub(_paint, text) if coloured() else text


@functools.cache
def _pattern() -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<m{number}>{pattern})" for number, (pattern, _) in enumerate(_MEANINGS)), re.M)


def verb_painted(word: str, text: str) -> str:
    """Return what is said of a file in the colour of what happened to it."""
    return _styled(_VERBS[word], text) if word in _VERBS and coloured() else text


def _paint(match: re.Match[str]) -> str:
    return _styled(_MEANINGS[int((match.lastgroup or "m0")[1:])][1], match[0])


def _styled(meaning: str, text: str) -> str:
    return click.style(text, **_STYLES[meaning])  # type: ignore[arg-type]  # its keywords differ in type
