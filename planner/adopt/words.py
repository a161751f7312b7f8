"""Words of a shell: a piece of syntax -> the fields a command gets, with quotes, variables and defaults resolved.

What is not known before the machine runs it stays as ``${NAME}``.
"""

import fnmatch
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from planner.adopt.conditions import arithmetic
from planner.adopt.scope import Scope

if TYPE_CHECKING:
    from tree_sitter import Node

Run = Callable[["Node", Scope], str | None]
"""Runs a command substitution: what it prints, or None when that is not known."""

_BREAK = None
_Token = str | None
"""A piece of a field, or a break between two fields."""
_ESCAPE = re.compile(r"\\(.)", re.S)
_IN_QUOTES = re.compile(r'\\(["\\$`\n])')
_ANSI = {"n": "\n", "t": "\t", "r": "\r", "'": "'", '"': '"', "\\": "\\"}
_LITERAL = frozenset({"word", "number", "extglob_pattern", "regex", "test_operator", "variable_name"})
_TRIM = ("##", "#", "%%", "%")


def fields(node: "Node", scope: Scope, run: Run) -> list[str]:
    """Return the fields that a word becomes: none for an empty variable without quotes, several for a list."""
    found: list[str] = []
    current: str | None = None
    for token in _tokens(node, scope, run, quoted=False):
        if token is _BREAK:
            found += [] if current is None else [current]
            current = None
        else:
            current = scope.wrote((current or "") + token)
    return found if current is None else [*found, current]


def text(node: "Node", scope: Scope, run: Run) -> str:
    """Return a word as one text, as an assignment takes it."""
    return "".join(" " if token is _BREAK else scope.wrote(token) for token in _tokens(node, scope, run, quoted=True))


def source(node: "Node") -> str:
    """Return the text of a piece of syntax as it was written."""
    return (node.text or b"").decode("utf-8", "replace")


def _tokens(node: "Node", scope: Scope, run: Run, *, quoted: bool) -> Iterator[_Token]:
    kind = node.type
    if kind in _LITERAL:
        yield _ESCAPE.sub(lambda match: "" if match[1] == "\n" else match[1], source(node))
    elif kind == "raw_string":
        yield source(node)[1:-1]
    elif kind == "ansi_c_string":
        yield _ESCAPE.sub(lambda match: _ANSI.get(match[1], match[0]), source(node)[2:-1])
    elif kind in ("string", "translated_string"):
        yield from _in_quotes(node, scope, run)
    elif kind in ("concatenation", "command_name", "heredoc_body"):
        for child in node.children:
            yield from _tokens(child, scope, run, quoted=quoted)
    elif kind in ("simple_expansion", "expansion"):
        whole = source(node)
        bare = whole.lstrip()  # between two variables in quotes the grammar gives the blanks to the second
        if len(bare) < len(whole):
            yield whole[: -len(bare)]
        if kind == "expansion":
            yield from _expansion(node, scope, run, quoted=quoted)
        else:
            yield from _variable(bare[1:], scope, quoted=quoted)
    elif kind == "arithmetic_expansion":
        yield arithmetic("".join(_summed(child, scope, run) for child in node.children[1:-1])) or source(node)
    elif kind == "command_substitution":
        printed = run(node, scope)
        yield from _split(source(node) if printed is None else printed.rstrip("\n"), quoted=quoted or printed is None)
    else:
        yield source(node)


def _summed(node: "Node", scope: Scope, run: Run) -> str:
    """Return a part of a sum with its variables put in, which need no dollar there."""
    if node.type == "variable_name":
        return f" {scope.text(source(node)) or source(node)} "
    if node.children and node.type not in ("expansion", "simple_expansion", "command_substitution"):
        return "".join(_summed(child, scope, run) for child in node.children)
    return f" {''.join(piece or ' ' for piece in _tokens(node, scope, run, quoted=True))} "


def _in_quotes(node: "Node", scope: Scope, run: Run) -> Iterator[_Token]:
    """Yield what stands between double quotes, blanks that the grammar keeps to itself included."""
    whole, at, lists = node.text or b"", 1, False
    for child in [*node.children[1:-1], None]:
        end = child.start_byte - node.start_byte if child else len(whole) - 1
        if gap := _IN_QUOTES.sub(_unescaped, whole[at:end].decode("utf-8", "replace")):
            yield gap
        if child is None:
            break
        if child.type == "string_content":
            yield _IN_QUOTES.sub(_unescaped, source(child))
        else:
            lists = lists or _is_list(child)
            yield from _tokens(child, scope, run, quoted=True)
        at = child.end_byte - node.start_byte
    if not lists:
        yield ""


def _unescaped(match: re.Match[str]) -> str:
    return "" if match[1] == "\n" else match[1]


def _is_list(node: "Node") -> bool:
    return source(node).lstrip() in ("$@", "${@}") or "[@]" in source(node)


def _split(value: str, *, quoted: bool) -> Iterator[_Token]:
    """Yield a value as one piece in quotes, else as fields."""
    if quoted:
        yield value
        return
    parts = value.split()
    if value[:1].isspace():
        yield _BREAK
    for number, part in enumerate(parts):
        if number:
            yield _BREAK
        yield part
    if parts and value[-1:].isspace():
        yield _BREAK


def _listed(items: list[str]) -> Iterator[_Token]:
    for number, item in enumerate(items):
        if number:
            yield _BREAK
        yield item


def _variable(name: str, scope: Scope, *, quoted: bool) -> Iterator[_Token]:
    if name in ("@", "*"):
        yield from _listed(scope.positional)
    elif name.isdigit():
        if (value := scope.argument(int(name))) is not None:
            yield from _split(value, quoted=quoted)
    elif (value := scope.text(name)) is not None:
        yield from _split(value, quoted=quoted or value.startswith(("$((", "$(")))
    else:
        yield f"${{{name}}}"


def _expansion(node: "Node", scope: Scope, run: Run, *, quoted: bool) -> Iterator[_Token]:
    """Yield ``${NAME}`` with what may follow the name: a default, an alternative, a part that is cut off."""
    inner = source(node).lstrip()[2:-1]
    match = re.match(r"(?P<length>#)?(?P<name>\w+|[@*])(?P<all>\[[@*]\])?(?P<rest>.*)", inner, re.S)
    if not match:
        yield source(node)
        return
    name, rest = match["name"], match["rest"]
    if (match["all"] or name in ("@", "*")) and not rest and not match["length"]:
        items = scope.positional if name in ("@", "*") else scope.items(name) or []
        yield from _listed(items)
        return
    value = _value(name, scope)
    if entry := re.match(r"\[(\$?)\{?([\w.-]+)\}?\]", rest):
        key = scope.text(entry[2]) if entry[1] else entry[2]
        value, rest = _entry(name, key or "", scope), rest[entry.end() :]
    for sign, wants in (("-", False), ("=", False), ("?", False), ("+", True)):
        for form in (f":{sign}", sign):
            if rest.startswith(form):
                there = bool(value) if form[0] == ":" else value is not None
                yield from _choice(node, name, (value or "", there, wants, form), scope, run, quoted=quoted)
                return
    if value is None:
        yield f"${{{inner}}}"
    elif match["length"]:
        yield str(len(value))
    else:
        yield from _split(_cut(value, rest), quoted=quoted)


def _entry(name: str, key: str, scope: Scope) -> str | None:
    """Return what stands under a key of a list, or of an array with names."""
    items = scope.items(name)
    if items and key.isdigit():
        return items[int(key)] if int(key) < len(items) else None
    return scope.text(f"{name}[{key}]")


def _value(name: str, scope: Scope) -> str | None:
    if name.isdigit():
        return None if scope.unsaid is not None else scope.argument(int(name))
    return scope.text(name)


def _choice(
    node: "Node", name: str, choice: tuple[str, bool, bool, str], scope: Scope, run: Run, *, quoted: bool
) -> Iterator[_Token]:
    """Yield the value or the word after ``:-``, ``:=`` or ``:+``."""
    value, there, wants, form = choice
    if there and not wants:
        yield from _split(value, quoted=quoted)
        return
    if there != wants:
        return
    if form.endswith("?"):
        yield f"${{{name}}}"
        return
    operator = next((child for child in node.children if child.type == form), None)
    words = [
        child for child in node.children if operator and child.start_byte >= operator.end_byte and child.type != "}"
    ]
    if form.endswith("="):
        scope.variables[name] = "".join(text(word, scope, run) for word in words)
    at = operator.end_byte if operator else node.end_byte
    for word in words:
        if word.start_byte > at:
            yield _BREAK if not quoted else " "
        yield from (
            _tokens(word, scope, run, quoted=quoted) if word.type != "word" else _split(source(word), quoted=quoted)
        )
        at = word.end_byte


def _cut(value: str, rest: str) -> str:
    """Return a value without the start or end that a pattern names, or with parts of it replaced."""
    operator = next((sign for sign in _TRIM if rest.startswith(sign)), "")
    if operator:
        pattern = rest[len(operator) :]
        ends = range(len(value) + 1) if operator in ("#", "%%") else range(len(value), -1, -1)
        for end in ends:
            part = value[:end] if operator[0] == "#" else value[end:]
            if fnmatch.fnmatchcase(part, pattern):
                return value[end:] if operator[0] == "#" else value[:end]
        return value
    if rest.startswith("/"):
        everywhere = rest.startswith("//")
        old, _, new = rest.lstrip("/").partition("/")
        return value.replace(old, new, -1 if everywhere else 1) if old else value
    return {"^^": value.upper(), ",,": value.lower()}.get(rest, value)
