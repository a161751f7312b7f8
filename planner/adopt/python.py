"""Python scripts that start servers: the command lines they pass to ``subprocess``, ``os.system`` and the like.

A script is not run. Names that are given constants, texts, lists and sums of these are followed in the order of the
lines; a choice is followed where its condition is a known name. Options of ``argparse`` and variables of the
environment have their defaults. What is not known stays as ``${NAME}``.
"""

import ast
import shlex
from collections.abc import Iterator

Known = str | int | float | bool | list[str] | None
_DEEPEST = 60
_CALLED = ("str", "int", "float")


def command_lines(text: str) -> list[str]:
    """Return the command lines with the engine's name in them that a script's calls are given, as a shell's lines."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found: list[str] = []
    try:
        _follow(tree.body, {}, found)
    except RecursionError:
        return found
    return [line for at, line in enumerate(found) if line.startswith("export ") or line not in found[:at]]


def _follow(body: list[ast.stmt], names: dict[str, Known], found: list[str]) -> None:
    for statement in body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            _calls(statement.value, names, found)
            value = _value(statement.value, names)
            for target in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
                if isinstance(target, ast.Name):
                    names[target.id] = value
                elif isinstance(target, ast.Attribute):
                    names[f".{target.attr}"] = value
                elif (variable := _variable(target)) and isinstance(value, str):
                    found.append(f"export {variable}={shlex.quote(value)}")
        elif isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
            names[statement.target.id] = _sum(names.get(statement.target.id), _value(statement.value, names))
        elif isinstance(statement, ast.Expr):
            _grown(statement.value, names)
            _calls(statement.value, names, found)
        elif isinstance(statement, ast.If):
            _calls(statement.test, names, found)
            met = False if _is_unset(statement.test) else _value(statement.test, names)
            if met or met is None:
                _follow(statement.body, names, found)
            if not met:
                _follow(statement.orelse, names, found)
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            _follow(statement.body, dict(names), found)
        else:
            for part in ast.iter_child_nodes(statement):
                if isinstance(part, ast.stmt):
                    _follow([part], names, found)
                elif isinstance(part, ast.ExceptHandler | ast.match_case):
                    _follow(part.body, names, found)
                else:
                    _calls(part, names, found)


def _grown(node: ast.expr, names: dict[str, Known]) -> None:
    """Take in ``name.append(…)`` and ``name.extend(…)``, and the options of ``argparse``."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return
    if node.func.attr == "add_argument" and node.args:
        option = _value(node.args[-1], names)
        default = next((keyword.value for keyword in node.keywords if keyword.arg == "default"), None)
        if isinstance(option, str) and default is not None:
            names[f".{option.lstrip('-').replace('-', '_')}"] = _value(default, names)
    if len(node.args) != 1:
        return
    owner = node.func.value
    held = names.get(owner.id) if isinstance(owner, ast.Name) else None
    if isinstance(owner, ast.Name) and isinstance(held, list) and node.func.attr in ("append", "extend"):
        value = _value(node.args[0], names)
        names[owner.id] = _sum(held, value if isinstance(value, list) else [_text(value, node.args[0])])


def _calls(node: ast.AST, names: dict[str, Known], found: list[str]) -> None:
    for call in ast.walk(node):
        if not isinstance(call, ast.Call):
            continue
        if ast.unparse(call.func).rsplit(".", 1)[-1] in ("print", "info", "debug", "log", "append", "extend"):
            continue
        found += [line for argument in call.args if (line := _line(_value(argument, names)))]


def _line(value: Known) -> str:
    """Return a value as a shell's line, where it names the engine."""
    if isinstance(value, list):
        line = " ".join(word if word.startswith("${") else shlex.quote(word) for word in value)
    else:
        line = value if isinstance(value, str) else ""
    return line if "vllm" in line and (" " in line.strip()) else ""


def _value(node: ast.expr, names: dict[str, Known], depth: int = 0) -> Known:
    """Return what an expression is, as far as that is known; None where it is not."""
    if depth > _DEEPEST:
        return None
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str | int | float | bool) else None
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        return "python3" if ast.unparse(node) == "sys.executable" else names.get(f".{node.attr}")
    if isinstance(node, ast.JoinedStr):
        return "".join(_piece(part, names, depth) for part in node.values)
    if isinstance(node, ast.List | ast.Tuple):
        return list(_items(node, names, depth))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _sum(_value(node.left, names, depth + 1), _value(node.right, names, depth + 1))
    if isinstance(node, ast.IfExp):
        met = _value(node.test, names, depth + 1)
        return _value(node.body if met or met is None else node.orelse, names, depth + 1)
    return _called(node, names, depth) if isinstance(node, ast.Call) else None


def _called(node: ast.Call, names: dict[str, Known], depth: int) -> Known:
    """Return what the few calls give that build command lines: ``str(x)``, ``" ".join(words)``, ``text.split()``."""
    called = node.func
    if isinstance(called, ast.Name) and called.id in ("str", "int", "float") and len(node.args) == 1:
        return _text(_value(node.args[0], names, depth + 1), node.args[0])
    if _is_environment(node):
        return _value(node.args[1], names, depth + 1) if len(node.args) == 2 else None
    if not isinstance(called, ast.Attribute):
        return None
    owner = _value(called.value, names, depth + 1)
    if called.attr == "join" and isinstance(owner, str) and len(node.args) == 1:
        words = _value(node.args[0], names, depth + 1)
        return owner.join(words) if isinstance(words, list) else None
    if called.attr in ("strip", "dedent") and isinstance(owner, str):
        return owner.strip()
    if called.attr == "split" and isinstance(owner, str) and not node.args:
        return owner.split()
    if ast.unparse(called) == "shlex.split" and len(node.args) == 1:
        text = _value(node.args[0], names, depth + 1)
        return text.split() if isinstance(text, str) else None
    return None


def _items(node: ast.List | ast.Tuple, names: dict[str, Known], depth: int) -> Iterator[str]:
    for item in node.elts:
        inner = item.value if isinstance(item, ast.Starred) else item
        value = _value(inner, names, depth + 1)
        if isinstance(value, list):
            yield from value
        else:
            yield _text(value, inner)


def _piece(node: ast.expr, names: dict[str, Known], depth: int) -> str:
    if isinstance(node, ast.FormattedValue):
        return _text(_value(node.value, names, depth + 1), node.value)
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _is_environment(node: ast.Call) -> bool:
    """Whether a call asks for a variable of the environment."""
    return ast.unparse(node.func) in ("os.environ.get", "os.getenv", "environ.get", "getenv")


def _is_unset(node: ast.expr) -> bool:
    """Whether an expression is a variable of the environment without a default, which nobody has set."""
    return isinstance(node, ast.Call) and _is_environment(node) and len(node.args) == 1


def _variable(node: ast.expr) -> str:
    """Return the name in ``os.environ["NAME"]`` or ``os.getenv("NAME")``; empty for anything else."""
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) in ("os.environ", "environ"):
        inner: ast.expr = node.slice
    elif isinstance(node, ast.Call) and _is_environment(node) and node.args:
        inner = node.args[0]
    else:
        return ""
    return inner.value if isinstance(inner, ast.Constant) and isinstance(inner.value, str) else ""


def _sum(one: Known, other: Known) -> Known:
    if isinstance(one, list) and isinstance(other, list):
        return [*one, *other]
    if isinstance(one, str) and isinstance(other, str):
        return one + other
    return one if isinstance(one, list | str) else None


def _text(value: Known, node: ast.expr) -> str:
    """Return a value as text; the name of what is not known otherwise."""
    if value is None or isinstance(value, list):
        asked = [name for part in ast.walk(node) if isinstance(part, ast.expr) and (name := _variable(part))]
        attributes = [part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)]
        called = [part.id for part in ast.walk(node) if isinstance(part, ast.Name) and part.id not in _CALLED]
        return f"${{{next(iter([*asked, *attributes, *called]), 'value')}}}"
    return str(value)
