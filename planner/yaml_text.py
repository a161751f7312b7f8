"""Plain data -> YAML text that every reader takes for the same data, whichever version of YAML it follows.

YAML 1.1 and 1.2 disagree about what a word without quotes is: ``08`` is text in the one and a number in the other,
``on`` is a boolean in the one and text in the other. Text that either could take for something else is quoted.
"""

import functools
import re
from collections.abc import Iterator
from typing import Any

import yaml

# What a plain scalar may be besides text, by https://yaml.org/type/ (null, bool, int, float, timestamp, merge and value
# of YAML 1.1) or by the core schema of YAML 1.2.2, section 10.3.2; letters in either case, as some readers take them.
_NOT_TEXT = re.compile(
    r"""(?xi) (?:
    ~? | null | true | false | yes | no | on | off | y | n | = | <<
    | [-+]? (?: 0b[01_]+ | 0o[0-7_]+ | 0x[0-9a-f_]+ )
    | [-+]? (?: [0-9][0-9_]* (?:\.[0-9_]*)? | \.[0-9_]+ ) (?:e[-+]?[0-9]+)?
    | [-+]? [0-9][0-9_]* (?: :[0-5]?[0-9] )+ (?:\.[0-9_]*)?
    | [-+]? \.inf | \.nan
    | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2} (?: (?: t | [ \t]+ ) [0-9: .tz+-]* )?
    ) \Z
    """
)

# Line breaks to YAML 1.1 and characters to YAML 1.2, or the other way round, and what a reader may drop.
_ESCAPED = re.compile("[\n\r\x85\u2028\u2029\ufeff]")


def is_text(word: str) -> bool:
    """Whether a word that stands without quotes is text for readers of YAML 1.1 and of YAML 1.2 alike."""
    return not _NOT_TEXT.match(word)


_WIDE = 1 << 20
"""A width that no line has."""

_LONG = 100
"""Letters from which on PyYAML may write a key in another way."""

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*\Z")
"""Words that stand without quotes wherever they are text."""


def yaml_text(data: object, *, width: int = _WIDE, flow: bool | None = False) -> str:
    """Return the YAML of plain data: keys in their order, lists indented below their key, no anchors.

    ``flow`` as in PyYAML: None writes lists and mappings of scalars on one line, as far as ``width`` goes.
    """
    if flow is False and width == _WIDE and isinstance(data, dict | list) and data and _simple(data):
        return "".join(_lines(data, "", ""))
    return _dumped(data, width, flow)


def _dumped(data: object, width: int = _WIDE, flow: bool | None = False) -> str:
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width, default_flow_style=flow)


def _simple(data: object) -> bool:
    """Whether these are mappings and lists of scalars, whose keys are text that PyYAML writes on a line of its own.

    ``_lines`` writes the same of them many times as fast: the plan of a large fleet has some 400,000 lines.
    """
    kind = type(data)
    if kind is dict:
        return all(_simple_key(key) and _simple(value) for key, value in data.items())  # type: ignore[attr-defined]
    if kind in (list, tuple):
        return all(map(_simple, data))  # type: ignore[call-overload]
    return data is None or kind in (int, float, bool) or (kind is str and len(data) < _WIDE // 2)  # type: ignore[arg-type]


def _simple_key(key: object) -> bool:
    return type(key) is str and 0 < len(key) < _LONG and not _ESCAPED.search(key)


def _lines(data: Any, first: str, indent: str) -> Iterator[str]:  # noqa: ANN401 - plain data
    """Yield the lines of a mapping or a list that is not empty; the first has another beginning than the others."""
    for key, value in data.items() if type(data) is dict else ((None, one) for one in data):
        start = f"{first}-" if key is None else f"{first}{_key(key)}:"
        first = indent
        if type(value) not in (dict, list, tuple):
            yield f"{start} {_scalar(value)}\n"
        elif not value:
            yield f"{start} {'{}' if type(value) is dict else '[]'}\n"
        elif key is None:
            yield from _lines(value, f"{start} ", f"{indent}  ")
        else:
            yield f"{start}\n"
            yield from _lines(value, f"{indent}  ", f"{indent}  ")


def _scalar(value: object) -> str:
    if type(value) is str and _PLAIN.match(value) and is_text(value):
        return value
    return str(value) if type(value) is int else _quoted(value)


@functools.lru_cache(maxsize=1 << 16, typed=True)
def _quoted(value: object) -> str:
    return _dumped([value])[2:-1]


@functools.lru_cache(maxsize=1 << 12)
def _key(key: str) -> str:
    return key if _PLAIN.match(key) and is_text(key) else _dumped({key: 0})[:-4]


class _Dumper(yaml.SafeDumper):
    """A dumper without anchors, which indents lists below their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401 - the signature of PyYAML
        return True


def _text(dumper: yaml.SafeDumper, data: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style='"' if _ESCAPED.search(data) else None)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(tuple, lambda dumper, data: dumper.represent_list(data))
# A word that resolves to another tag than that of its value is quoted. This one is the last to be tried, so numbers
# and booleans of the data, which PyYAML's own resolvers know, stay bare.
_Dumper.add_implicit_resolver("tag:yaml.org,2002:not-text", _NOT_TEXT, None)
