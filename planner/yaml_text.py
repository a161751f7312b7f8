"""Plain data -> YAML text that every reader takes for the same data, whichever version of YAML it follows.

YAML 1.1 and 1.2 disagree about what a word without quotes is: ``08`` is text in the one and a number in the other,
``on`` is a boolean in the one and text in the other. Text that either could take for something else is quoted.
"""

import re
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


def yaml_text(data: object, *, width: int = 1 << 20, flow: bool | None = False) -> str:
    """Return the YAML of plain data: keys in their order, lists indented below their key, no anchors.

    ``flow`` as in PyYAML: None writes lists and mappings of scalars on one line, as far as ``width`` goes.
    """
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width, default_flow_style=flow)


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
