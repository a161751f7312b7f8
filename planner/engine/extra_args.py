"""Options and environment variables that a role adds to its servers, held against what a plan sets.

One option is a text such as ``--max-log-len 200``, its words quoted as a shell reads them.
``catalog/engines/extra-args.yaml`` says what a plan sets itself, what is refused, and what takes no memory of a GPU.
"""

import functools
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from planner.engine.data_file import read_data_file
from planner.resources import data_folder

_PARTS = frozenset({"planned", "refused", "secret", "free", "environment"})
_SECRET = re.compile(r"(^|_)(TOKEN|KEY|APIKEY|SECRET|PASSWORD|PASSWD|PASS|PWD|CREDENTIALS?|AUTH)(_|$)")
_FORMS = ("no-", "enable-", "disable-")
_ENVIRONMENT_FILE = "write it into the environment file beside the artifacts, which no plan holds"
_PREFIX_CACHING = {
    "--enable-prefix-caching": True,
    "--no-enable-prefix-caching": False,
    "--disable-prefix-caching": False,
}


class _Kinds(Struct, frozen=True):
    planned: Mapping[str, str]
    refused: Mapping[str, str]
    secret: frozenset[str]
    free: frozenset[str]
    environment_set: frozenset[str]
    environment_refused: Mapping[str, str]
    environment_free: frozenset[str]


def split(option: str) -> tuple[str, tuple[str, ...]]:
    """Return an option's name and the words after it."""
    flag, *words = shlex.split(option)
    return flag, tuple(words)


def joined(flag: str, words: Iterable[str]) -> str:
    """Return an option as one text."""
    return shlex.join((flag, *words))


def options_of(words: Sequence[str]) -> tuple[str, ...]:
    """Return the options of a list of words, each with those that follow it: ``--x 1``, ``--x=1`` and ``--x``, ``1``.

    Raises:
        ValueError: a word belongs to no option, or an option is not written with its long name.
    """
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if word.startswith("--") and len(word) > 2:
            flag, given, value = word.partition("=")
            found.append((spelled(flag), [value] if given else []))
        elif word.startswith("-") and not _number(word):
            raise ValueError(f"{word} is not the long name of an option")
        elif not found:
            raise ValueError(f"{word} belongs to no option")
        else:
            found[-1][1].append(word)
    return tuple(joined(flag, values) for flag, values in found)


def in_version(flag: str, known: Collection[str]) -> str:
    """Return an option's name in an engine version whose options are ``known``.

    What was ``--no-enable-x`` is ``--disable-x`` in newer ones (``utils/argparse_utils.py`` 0.33.0, which takes both).
    """
    return flag if flag in known else next((name for name in _alike(flag) if name in known), flag)


def words_in(flag: str, options: Mapping[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    """Return the words after an option among those of a command line, however it is spelled; None where it is not."""
    return next((options[name] for name in (flag, *_alike(flag)) if name in options), None)


def _alike(flag: str) -> tuple[str, ...]:
    """Return the other spellings of a switch that turns something off."""
    off = next((flag.removeprefix(form) for form in ("--no-enable-", "--disable-") if flag.startswith(form)), "")
    return (f"--no-enable-{off}", f"--disable-{off}") if off else ()


def spelled(flag: str) -> str:
    """Return an option's name as the engine's parser spells it: dashes, and what comes after a dot untouched."""
    name, dot, part = flag.partition(".")
    return name.replace("_", "-") + dot + part


def refusal(option: str) -> tuple[str, str]:
    """Say why a plan takes no such option, with a hint; two empty texts where it does."""
    flag = split(option)[0]
    kinds, name = _kinds(), _base(flag)
    if name in kinds.secret:
        return f"{flag} is a secret", _ENVIRONMENT_FILE
    if who := kinds.planned.get(name):
        plain = " " in who
        return f"the plan sets {flag} itself", f"{who} decides it" if plain else f"the key for it is {who}"
    if why := kinds.refused.get(name):
        return f"{flag} is not taken: {why}", ""
    return "", ""


def unpriced(option: str) -> bool:
    """Whether an option may take memory of a GPU that no ledger counts."""
    return _base(split(option)[0]) not in _kinds().free


def environment_refusal(name: str) -> tuple[str, str]:
    """Say why a plan takes no such environment variable, with a hint; two empty texts where it does."""
    kinds = _kinds()
    if _SECRET.search(name.upper()):
        return f"{name} looks like a secret", _ENVIRONMENT_FILE
    if name in kinds.environment_set or name.startswith(("PLANNER_", "LWS_")):
        return f"the artifacts set {name} themselves", "leave it out"
    if why := kinds.environment_refused.get(name):
        return f"{name} is not taken: {why}", ""
    return "", ""


def environment_unpriced(variable: str) -> bool:
    """Whether a variable ``NAME=value`` may change what a server takes of a GPU by an amount that no ledger counts."""
    return variable.partition("=")[0] not in _kinds().environment_free


def priced(options: Iterable[str]) -> dict[str, Any]:
    """Return the fields of ``ServeFlags`` that options decide."""
    found = [_PREFIX_CACHING[flag] for flag, _ in map(split, options) if flag in _PREFIX_CACHING]
    return {"prefix_caching": found[-1]} if found else {}


def _base(flag: str) -> str:
    """Return what an option is about, whichever way it says so."""
    name = flag.removeprefix("--").partition(".")[0]
    for form in _FORMS:
        name = name.removeprefix(form)
    return name


def _number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


@functools.cache
def _kinds() -> _Kinds:
    data = read_data_file(data_folder("catalog") / "engines" / "extra-args.yaml", _PARTS)
    environment = data["environment"]
    return _Kinds(
        data["planned"],
        data["refused"],
        frozenset(data["secret"]),
        frozenset(data["free"]),
        frozenset(environment["set"]),
        environment["refused"],
        frozenset(environment["free"]),
    )
