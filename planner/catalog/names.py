"""Compare names the way people type them."""

import difflib
import re
from collections.abc import Iterable

_SEPARATORS = re.compile(r"[^a-z0-9.+]+")


def plain(name: str) -> str:
    """Reduce a name to what distinguishes it: lower case, no separators, no vendor prefix."""
    return "".join(_words(name))


def is_shorthand(name: str, full: str) -> bool:
    """Say whether every word of ``name`` is a word of ``full``, in any order; ``sxm`` will do for ``SXM5``."""
    wanted, known = ({re.sub("^sxm[0-9]$", "sxm", word) for word in _words(text)} for text in (name, full))
    return wanted <= known and any(character.isdigit() for word in wanted for character in word)


def nearest(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return up to three known names that the reader may have meant, the likeliest first."""
    spelled = {plain(candidate): candidate for candidate in sorted(known, reverse=True)}
    return tuple(spelled[match] for match in difflib.get_close_matches(plain(name), sorted(spelled), n=3, cutoff=0.5))


def _words(name: str) -> list[str]:
    words = _SEPARATORS.sub(" ", name.casefold()).split()
    if words and words[0] in ("nvidia", "amd", "intel"):
        words = words[1:]
    return [word for word in words if word != "geforce"]
