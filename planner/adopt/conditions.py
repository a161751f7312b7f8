"""Conditions of a shell over values that are known."""

import ast
import fnmatch
import operator
import re
import warnings
from collections.abc import Callable, Sequence

_UNKNOWN = re.compile(r"\$[{(]")
_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip


def truth(words: Sequence[str]) -> bool | None:
    """Return whether a test holds, from its words; None when it cannot be told."""
    words = list(words)
    for joint, decide in (("||", any), ("-o", any), ("&&", all), ("-a", all)):
        if joint in words:
            at = words.index(joint)
            both = (truth(words[:at]), truth(words[at + 1 :]))
            return None if None in both else decide(both)
    if words[:1] == ["!"]:
        inner = truth(words[1:])
        return None if inner is None else not inner
    if len(words) == 2:
        return _unary(*words)
    if len(words) == 3:
        return _binary(*words)
    return bool(words[0]) if len(words) == 1 and not _UNKNOWN.search(words[0]) else None


def matches(value: str, pattern: str) -> bool:
    """Whether a value matches a pattern of ``case``, in which quotes mean nothing more."""
    return fnmatch.fnmatchcase(value, pattern.strip("\"'"))


def arithmetic(text: str) -> str | None:
    """Return the value of a sum of numbers; None where a name in it is not known."""
    if not re.fullmatch(r"[\d\s()+*/%-]{1,200}", text) or "**" in text:
        return None
    try:
        return str(_value(ast.parse(text.strip(), mode="eval").body))
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError):
        return None


def _value(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.BinOp) and (combine := _OPERATORS.get(type(node.op))):
        return combine(_value(node.left), _value(node.right))
    raise ValueError


def _unary(operator: str, value: str) -> bool | None:
    if re.fullmatch(r"\$\{\d+\}", value):
        return None
    there = bool(value) and not _UNKNOWN.fullmatch(value[:2])
    return {"-n": there, "-z": not there}.get(operator)


def _binary(left: str, operator: str, right: str) -> bool | None:
    if _UNKNOWN.search(left) or _UNKNOWN.search(right):
        return None
    if operator in ("=", "=="):
        return matches(left, right)
    if operator == "!=":
        return not matches(left, right)
    if operator == "=~":
        return _found(right, left)
    try:
        one, other = int(left or 0), int(right or 0)
    except ValueError:
        return None
    return {
        "-eq": one == other, "-ne": one != other, "-gt": one > other, "-ge": one >= other,
        "-lt": one < other, "-le": one <= other,
    }.get(operator)  # fmt: skip


def _found(pattern: str, text: str) -> bool | None:
    """Search as bash does; None for what Python reads otherwise, such as ``[[:space:]]``, of which it warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        try:
            return bool(re.search(pattern, text))
        except (re.error, FutureWarning):
            return None
