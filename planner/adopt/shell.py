"""Shell text -> the commands it runs, in order, as far as that can be told without running anything.

Parsed with the grammar of tree-sitter, then followed: variables, defaults, lists, ``if`` and ``case`` over values that
are known, functions, scripts that are at hand. A condition that cannot be told counts as not met, a command succeeds.
"""

import contextlib
import functools
import re
from typing import TYPE_CHECKING

from msgspec import Struct

from planner.adopt import heredocs
from planner.adopt.conditions import matches, truth
from planner.adopt.scope import Enough, Scope
from planner.adopt.words import fields, source, text

if TYPE_CHECKING:
    from tree_sitter import Node, Parser


_NAMED = re.compile(r"\[([\w.-]+)\]=(.*)", re.S)
"""An entry of an array with names."""


class Command(Struct, frozen=True):
    """One command: its words, the variables that are set for it or exported, and its line, from 1."""

    words: tuple[str, ...]
    environment: dict[str, str]
    line: int


class _Exit(Exception):
    """The script ends here."""


def commands(script: str, scope: Scope | None = None) -> list[Command]:
    """Return every command of a script, with what it is given; a script that goes on too long is cut."""
    shell = _Shell(scope or Scope())
    with contextlib.suppress(_Exit, Enough):
        shell.follow(_parser().parse(script.encode("utf-8", "replace")).root_node)
    return shell.found


@functools.cache
def _parser() -> "Parser":
    import tree_sitter
    import tree_sitter_bash

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


class _Shell:
    """Follows one script."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.found: list[Command] = []
        self.exported: dict[str, str] = {}
        self.printed: list[str] = []
        self.all_exported = False

    def follow(self, node: "Node") -> bool:
        """Follow a statement; whether it succeeds, as far as known."""
        self.scope.step()
        handler = getattr(self, f"_{node.type}", None)
        if handler is not None:
            return bool(handler(node))
        return self._each(node) if node.type in _SEQUENCES else True

    def _command(self, node: "Node") -> bool:
        own: dict[str, str] = {}
        words: list[str] = []
        for child in node.named_children:
            if child.type == "variable_assignment":
                name, value = self._assigned(child)
                own[name] = " ".join(value) if isinstance(value, list) else value
            elif not child.type.endswith("_redirect"):
                words += fields(child, self.scope, self._substitute)
        if not words:
            self.scope.variables.update(own)
            return True
        return self._called(words, own, node)

    def _called(self, words: list[str], own: dict[str, str], node: "Node") -> bool:
        """Take a command in: what the shell does itself is done, the rest is noted."""
        name, rest = words[0], words[1:]
        if name in ("exit", "return"):
            raise _Exit
        if name in ("[", "test"):
            return self._holds(rest[:-1] if name == "[" else rest)
        if name == "false":
            return False
        if name in ("echo", "printf"):
            self.printed.append(" ".join(word for word in rest if word not in ("-n", "-e")) + "\n")
        elif name == "set":
            self.all_exported = "-a" in rest or ("allexport" in rest and "-o" in rest)
            if "--" in rest:
                self.scope.positional, self.scope.unsaid = rest[rest.index("--") + 1 :], None
        elif name == "shift":
            self.scope.shift(int(rest[0]) if rest and rest[0].isdigit() else 1)
        elif name == "eval":
            self._deeper(_parser().parse(" ".join(rest).encode("utf-8", "replace")).root_node)
        elif name in ("source", "."):
            self._sourced(rest)
        elif name in self.scope.functions:
            self._function(name, rest)
        else:
            self.found.append(Command(tuple(words), {**self.exported, **own}, node.start_point[0] + 1))
        return True

    def _sourced(self, rest: list[str]) -> None:
        there = self.scope.read(rest[0]) if rest else None
        if there is not None:
            self._deeper(_parser().parse(there.encode("utf-8", "replace")).root_node)

    def _function(self, name: str, arguments: list[str]) -> None:
        before = self.scope.positional, self.scope.unsaid
        self.scope.positional, self.scope.unsaid = arguments, None
        with contextlib.suppress(_Exit):
            self._deeper(self.scope.functions[name])
        self.scope.positional, self.scope.unsaid = before

    def _deeper(self, node: "Node") -> None:
        self.scope.depth += 1
        self.follow(node)
        self.scope.depth -= 1

    def _variable_assignment(self, node: "Node") -> bool:
        name, value = self._assigned(node)
        if source(node).startswith(f"{name}+="):
            before = self.scope.variables.get(name)
            value = [*(self.scope.items(name) or []), *value] if isinstance(value, list) else f"{before or ''}{value}"
        self.scope.variables[name] = value
        if self.all_exported and isinstance(value, str):
            self.exported[name] = value
        return True

    def _assigned(self, node: "Node") -> tuple[str, str | list[str]]:
        name = node.child_by_field_name("name")
        value = node.child_by_field_name("value")
        called = source(name) if name else ""
        if value is None:
            return called, ""
        if value.type == "array":
            words = [child for child in value.named_children if child.type != "comment"]
            items = [item for child in words for item in self._fields(child)]
            named = [_NAMED.fullmatch(item) for item in items]
            self.scope.variables |= {f"{called}[{one[1]}]": one[2] for one in named if one}
            return called, [one[2] if one else item for one, item in zip(named, items, strict=True)]
        return called, text(value, self.scope, self._substitute)

    def _fields(self, node: "Node") -> list[str]:
        return fields(node, self.scope, self._substitute)

    def _declaration_command(self, node: "Node") -> bool:
        export = source(node).startswith(("export", "declare -x"))
        for child in node.named_children:
            if child.type == "variable_assignment":
                self._variable_assignment(child)
            name = source(child.child_by_field_name("name") or child)
            if export and (value := self.scope.text(name)) is not None:
                self.exported[name] = value
        return True

    def _unset_command(self, node: "Node") -> bool:
        for child in node.named_children:
            self.scope.variables.pop(source(child), None)
            self.exported.pop(source(child), None)
        return True

    def _redirected_statement(self, node: "Node") -> bool:
        body = node.child_by_field_name("body")
        given = heredocs.document(node, self.scope, self._substitute)
        if given is not None and self._read(node, given):
            return True
        return self.follow(body) if body else True

    def _read(self, node: "Node", given: str) -> bool:
        """Take in a here-document: a file it becomes, a script it is, or what it prints; whether it is one of these."""
        words = heredocs.words_of(node, self.scope, self._substitute)
        if path := heredocs.written_to(node, words, self.scope, self._substitute):
            self.scope.made[path] = given
        elif heredocs.runs(words):
            self._deeper(_parser().parse(given.encode("utf-8", "replace")).root_node)
        elif words == ["cat"]:
            self.printed.append(given)
        else:
            return False
        return True

    def _list(self, node: "Node") -> bool:
        left, operator, right = node.children[0], node.children[1], node.children[-1]
        done = self.follow(left)
        return self.follow(right) if done == (operator.type == "&&") else done

    def _negated_command(self, node: "Node") -> bool:
        return not self.follow(node.named_children[-1])

    def _test_command(self, node: "Node") -> bool:
        return self._holds(_test_words(node, self.scope, self._substitute))

    def _holds(self, words: list[str]) -> bool:
        met = truth(words)
        return self.scope.assume if met is None else met

    def _if_statement(self, node: "Node") -> bool:
        return self._branch(node)

    def _branch(self, node: "Node") -> bool:
        """Follow an ``if`` or ``elif``: the condition, then what it chooses."""
        then = next(index for index, child in enumerate(node.children) if child.type == "then")
        met = True
        for child in node.children[1:then]:
            if child.is_named:
                met = self.follow(child)
        for child in node.children[then + 1 :]:
            if child.type == "elif_clause":
                if not met and self._branch(child):
                    return True
            elif child.type == "else_clause":
                if not met:
                    self._each(child)
                    return True
            elif met and child.is_named:
                self.follow(child)
        return met

    def _each(self, node: "Node") -> bool:
        """Follow everything below a piece of syntax; whether the last of it succeeds."""
        done = True
        for child in node.named_children:
            done = self.follow(child)
        return done

    def _case_statement(self, node: "Node") -> bool:
        subject = node.child_by_field_name("value")
        value = text(subject, self.scope, self._substitute) if subject else ""
        for item in node.named_children:
            if item.type != "case_item":
                continue
            close = next((child.start_byte for child in item.children if child.type == ")"), item.end_byte)
            patterns = [source(child) for child in item.named_children if child.end_byte <= close]
            if any(matches(value, pattern) for pattern in patterns):
                for child in item.named_children:
                    if child.start_byte >= close:
                        self.follow(child)
                break
        return True

    def _for_statement(self, node: "Node") -> bool:
        name, body = node.child_by_field_name("variable"), node.child_by_field_name("body")
        words = [child for child in node.named_children if child not in (name, body)]
        for value in [field for word in words for field in self._fields(word)]:
            self.scope.variables[source(name) if name else ""] = value
            if body:
                self._each(body)
        return True

    def _function_definition(self, node: "Node") -> bool:
        name, body = node.child_by_field_name("name"), node.child_by_field_name("body")
        if name and body:
            self.scope.functions[source(name)] = body
        return True

    def _substitute(self, node: "Node", scope: Scope) -> str | None:
        """Return what ``$(…)`` prints, where it does nothing but print; else None."""
        inner = _Shell(scope)
        scope.depth += 1
        try:
            for child in node.named_children:
                inner.follow(child)
        except _Exit:
            pass
        finally:
            scope.depth -= 1
        return None if inner.found else "".join(inner.printed)


_SEQUENCES = frozenset(
    {"program", "pipeline", "subshell", "compound_statement", "do_group", "else_clause", "while_statement",
     "variable_assignments", "ERROR"}
)  # fmt: skip


def _test_words(node: "Node", scope: Scope, run: object) -> list[str]:
    """Return the words of ``[ … ]``, operators among them, in order."""
    found: list[str] = []
    for child in node.children:
        if child.type in ("[", "]", "[[", "]]", "(", ")"):
            continue
        if child.type in ("binary_expression", "unary_expression", "parenthesized_expression", "negation_expression"):
            found += _test_words(child, scope, run)
        else:
            found.append(text(child, scope, run) if child.is_named else source(child))  # type: ignore[arg-type]
    return found
