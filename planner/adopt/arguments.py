"""Words after ``vllm serve`` -> flags and their values, as the engine's own parser holds them.

Long names with dashes; short forms spelled out; ``--no-x`` is ``x: False``, a switch True; JSON is parsed, also when it
is given by parts (``--hf-overrides.a 1``), which put aside JSON of the same flag; 8k is 8000 and 8K 8192 where the
parser says so. Sources are named in ``catalog/engines/vllm-flag-kinds.yaml``; the behaviour is that of
``FlexibleArgumentParser`` in ``vllm/utils/argparse_utils.py``, 0.32.0.
"""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from msgspec import Struct, field

from planner.engine.options import EngineOptions, engine_options, human_int, listed_versions
from planner.resources import data_folder

UNKNOWN = re.compile(r"\$\{\w[^{}]*\}|\$\(|\{\{|%\w+%|<[A-Za-z][\w -]*>")
"""What only the running platform knows, as it is kept: ``${NAME}``, ``$(…)``, ``{{…}}``, ``<name>``."""
_TRUTHS = {"true": True, "false": False}
_RENAMED = {"kv-cache-memory": "kv-cache-memory-bytes"}


class Arguments(Struct):
    """What a server is given: the model's word, its flags, and words that are no flag of the version."""

    model: str = ""
    flags: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    config: str = ""
    parts: dict[tuple[str, str], Any] = field(default_factory=dict)
    """Flags given by parts, each with the spelling it is given by: the engine reads those that are spelled alike
    together, after all other words, and of two spellings of one flag the one that was begun last alone."""


def read_arguments(words: Sequence[str], options: EngineOptions) -> Arguments:
    """Read the words after ``vllm serve`` or the module of the API server."""
    found = Arguments()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word in ("-", "--") or _number(word):
            if word.strip() not in ("-", "--", ""):
                _positional(found, word)
            continue
        if level := re.fullmatch(r"-O=?([0-3])", word):
            _level(found, int(level[1]), options)
            continue
        name, has_value, value = word.partition("=")
        name, part = _long_name(name)
        name = name if part else _whole_name(name, options)
        kind = _kind(name, options)
        if name.startswith("no-") and _kind(name.removeprefix("no-"), options) in ("switch", "guess"):
            _note(found, name.removeprefix("no-"), False, options)
        elif part:
            value = value if has_value else _next(rest)
            _merge(found.parts, (name, word.partition(".")[0].replace("_", "-")), part, value)
        elif kind == "switch":
            # until 0.9 several switches took True or False as the next word (StoreBoolean in vllm/utils.py, 0.8.5)
            said = value if has_value else rest.pop(0) if rest and rest[0].lower() in _TRUTHS else "true"
            _note(found, name, _TRUTHS.get(said.lower(), said), options)
        elif kind in ("list", "int_list"):
            values = [value] if has_value else _values(rest)
            _note(found, name, [_typed(item, "int" if kind == "int_list" else "text") for item in values], options)
        elif kind == "append":
            found.flags.setdefault(name, []).append(value if has_value else _next(rest))
        else:
            _note(found, name, _typed(value if has_value else _next(rest), kind), options)
    found.flags |= {name: value for (name, _), value in found.parts.items()}
    found.config = str(found.flags.pop("config", "") or "")
    model = found.flags.pop("model", None)
    found.model = str(model) if model else found.model
    return found


def typed(name: str, value: Any, options: EngineOptions) -> Any:  # noqa: ANN401 - any value of a configuration
    """Return a value of a configuration file as the parser would hold it."""
    kind = _kind(name, options)
    if kind in ("list", "int_list"):
        items = value if isinstance(value, list) else [value]
        return [_typed(str(item), "int" if kind == "int_list" else "text") for item in items]
    return _typed(value, kind) if isinstance(value, str) else value


def known(name: str, options: EngineOptions) -> bool:
    """Whether the engine version has a flag of this name."""
    return f"--{name}" in options.flags or f"--{_RENAMED.get(name, name)}" in options.flags


def _level(found: Arguments, level: int, options: EngineOptions) -> None:
    """Take in ``-O3``: a level of its own, or until 0.11 that of ``--compilation-config``."""
    if "--optimization-level" in options.flags:
        found.flags["optimization-level"] = level
    else:
        _merge(found.parts, ("compilation-config", "-O"), "level", str(level))


def _positional(found: Arguments, word: str) -> None:
    """Take in a word that is no flag: the model; what is not known yet may be the model, or nothing."""
    if not found.model or (UNKNOWN.fullmatch(found.model) and not UNKNOWN.fullmatch(word)):
        found.model = word
    elif not UNKNOWN.fullmatch(word):
        found.unknown.append(word)


def _note(found: Arguments, name: str, value: Any, options: EngineOptions) -> None:  # noqa: ANN401
    found.flags.pop(name, None)
    found.flags[name] = value
    if not known(name, options) and name not in ("model", "config", *found.unknown):
        found.unknown.append(name)


def _long_name(word: str) -> tuple[str, str]:
    """Return a flag's long name with dashes and, after a dot, which part of its JSON it sets."""
    bare = word.lstrip("-")
    head, _, part = bare.partition(".")
    if not word.startswith("--"):
        if re.fullmatch(r"O\d?", head):
            return "compilation-config" if part else "optimization-level", part
        head = _kinds()[1].get(head, head)
    return head.replace("_", "-"), part


def _whole_name(name: str, options: EngineOptions) -> str:
    """Return the one option that a name is the beginning of, as argparse does, or the name itself."""
    if f"--{name}" in options.flags or name in _kinds()[0] or name in ("model", "config"):
        return name
    longer = [flag for flag in options.flags if flag.startswith(f"--{name}")]
    return longer[0].removeprefix("--") if len(longer) == 1 else name


def _kind(name: str, options: EngineOptions) -> str:
    kinds = _kinds()[0]
    if name in kinds:
        return kinds[name]
    listed = options.flags.get(f"--{name}") or _ever(f"--{name}")
    return "switch" if listed == "switch" else "list" if listed == "values" else "guess" if listed is None else "text"


def _next(rest: list[str]) -> str:
    return rest.pop(0) if rest and not _is_flag(rest[0]) else ""


def _values(rest: list[str]) -> list[str]:
    found = []
    while rest and not _is_flag(rest[0]):
        found.append(rest.pop(0))
    return found


def _is_flag(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not _number(word)


def _number(word: str) -> bool:
    return bool(re.fullmatch(r"-?\d+(?:\.\d+)?", word))


def _typed(value: str, kind: str) -> Any:  # noqa: ANN401
    """Return a value as its kind has it; what is not of the kind, or not known yet, stays as written."""
    if kind == "guess":
        return _guessed(value)
    if value == "" and kind != "text":
        return True
    if UNKNOWN.search(value) and kind != "json":
        return value
    try:
        if kind == "human_int":
            return -1 if value.strip().lower() == "auto" else human_int(value)
        if kind == "int":
            return int(value)
        if kind == "float":
            return float(value)
        if kind == "json":
            return _pairs(value) if re.fullmatch(r"\w+=\d+(?:,\w+=\d+)*", value) else json.loads(value)
    except (ValueError, RecursionError):
        return value
    return value


def _guessed(value: str) -> Any:  # noqa: ANN401
    """Return a value of a flag that the version does not list."""
    if value == "":
        return True
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _pairs(value: str) -> dict[str, int]:
    """Return ``image=4,video=1``, which ``--limit-mm-per-prompt`` took until 0.9 (nullable_kvs in arg_utils.py)."""
    return {key: int(number) for key, _, number in (pair.partition("=") for pair in value.split(","))}


def _merge(flags: dict[tuple[str, str], Any], name: tuple[str, str], part: str, value: str) -> None:
    """Set one part of a flag's JSON."""
    at = flags.setdefault(name, {})
    if not isinstance(at, dict):
        at = flags[name] = {}
    *way, last = part.rstrip("+").split(".")
    for key in way:
        inner = at.setdefault(key, {})
        at = inner if isinstance(inner, dict) else at
    held = _guessed(value)
    at[last] = [*at.get(last, []), held] if part.endswith("+") else held


def _ever(flag: str) -> str | tuple[str, ...] | None:
    """Return what a flag takes in the newest version that has it; None where none does."""
    return next((flags[flag] for flags in map(_listed, reversed(listed_versions())) if flag in flags), None)


def _listed(version: str) -> Mapping[str, str | tuple[str, ...]]:
    return engine_options(version).flags


@functools.cache
def _kinds() -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the kind of value of each flag that takes no plain text, and the long names of the short ones."""
    path = data_folder("catalog") / "engines" / "vllm-flag-kinds.yaml"
    data = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    kinds = {name: kind for kind, names in data["kinds"].items() for name in names}
    return kinds, data["short"]
