"""Compare names the way people type them."""

import functools
import re
from collections.abc import Iterable

from planner.units import GIB

_SEPARATORS = re.compile(r"[^a-z0-9.+]+")
_REMARK = re.compile(r"\([^)]*\)")
_ANOTHER_CARD = frozenset({"ti", "super", "d", "ada", "pro"})
_MEMORY = re.compile(r"([0-9]{1,3})gb?")


@functools.cache
def plain(name: str) -> str:
    """Reduce a name to what distinguishes it: lower case, no separators, no vendor prefix."""
    return "".join(_words(name))


def words_left_out(name: str, full: str, memory_bytes: int) -> int | None:
    """Return how many words of a GPU's ``full`` name ``name`` leaves out, or None if another GPU is meant.

    Every word must be one of the full name's, in any order; ``sxm`` will do for ``SXM5``, and a memory size (``24GB``,
    ``80G``) for a card of about that size. What stands in brackets, as in ``L4 (23034 MiB)``, is a remark. An RTX 4070
    is not an RTX 4070 Ti: words that make it another card cannot be left out.
    """
    wanted = {_form_factor(word) for word in _words(_REMARK.sub(" ", name))}
    known = {_form_factor(word) for word in _words(full)}
    named = {word for word in wanted if word in known or not _is_memory(word, memory_bytes)}
    distinct = any(character.isdigit() for word in named for character in word)
    left_out = known - named
    return len(left_out) if named <= known and distinct and not left_out & _ANOTHER_CARD else None


def nearest(name: str, known: Iterable[str], cutoff: float = 0.5) -> tuple[str, ...]:
    """Return up to three known names that the reader may have meant, the likeliest first; ``cutoff`` 1 means equal."""
    import difflib  # only for names that are not there

    spelled = {plain(candidate): candidate for candidate in sorted(known, reverse=True)}
    close = difflib.get_close_matches(plain(name), sorted(spelled), n=3, cutoff=cutoff)
    return tuple(spelled[match] for match in close)


@functools.cache
def _words(name: str) -> tuple[str, ...]:
    words = _SEPARATORS.sub(" ", name.casefold()).split()
    if words and words[0] in ("nvidia", "amd", "intel"):
        words = words[1:]
    return tuple(word for word in words if word != "geforce")


@functools.cache
def _form_factor(word: str) -> str:
    return re.sub("^sxm[0-9]$", "sxm", word)


def _is_memory(word: str, memory_bytes: int) -> bool:
    """Say whether a word is the size this card is sold with; an engine sees up to 10 % less (ECC, the driver)."""
    size = _MEMORY.fullmatch(word)
    return size is not None and 0.9 * int(size[1]) <= memory_bytes / GIB <= int(size[1])
