"""Signals that come while a script waits: bash 5.2 must not be expanding a substitution then.

It runs a trap while it reads the text of ``$( )`` or ``<( )``, takes the trap for a part of it ("unexpected EOF while
looking for matching `)'") and ends with 2, whatever the trap says.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import tree_sitter
import tree_sitter_bash
from tree_sitter import Node

ROOT = Path(__file__).resolve().parent.parent
# The same text is in many examples, and is read once.
SCRIPTS = {path.read_bytes(): path for path in sorted((ROOT / "examples").rglob("*.sh"))}
WAITING = [path for text, path in SCRIPTS.items() if b"\npause() {" in text]
EXPANSIONS = ("command_substitution", "process_substitution")


def own(node: Node) -> Iterator[Node]:
    """Yield what the shell itself does there: not what runs in a process of its own, which has no traps."""
    yield node
    if node.type in ("subshell", *EXPANSIONS):
        return
    inner = [node.children[-1]] if node.type == "pipeline" else node.children
    for child in inner:
        if child.next_sibling is None or child.next_sibling.type != "&":
            yield from own(child)


def name(node: Node) -> str:
    found = node.child_by_field_name("name")
    return found.text.decode() if found and found.text else ""


def called(node: Node) -> set[str]:
    return {name(one) for one in own(node) if one.type == "command"}


def expanded(script: Path) -> list[str]:
    """Return the substitutions of every loop that waits, and of the functions that it calls in turn."""
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))
    program = parser.parse(script.read_bytes()).root_node
    bodies = {name(one): one for one in program.children if one.type == "function_definition"}
    loops = [one for one in own(program) if one.type == "while_statement" and "pause" in called(one)]
    assert loops, f"{script} naps, but in no loop"
    reached, more = dict[str, Node](), set[str]().union(*map(called, loops))
    while more := more & bodies.keys() - reached.keys():
        reached |= {one: bodies[one] for one in more}
        more = set[str]().union(*map(called, reached.values()))
    return [f"{script}:{one.start_point.row + 1}: {one.text!r}" for body in [*loops, *reached.values()]
            for one in own(body) if one.type in EXPANSIONS]  # fmt: skip


@pytest.mark.parametrize("script", sorted({path.name for path in WAITING}))
def test_no_loop_that_waits_expands_a_substitution(script: str) -> None:
    assert [line for path in WAITING if path.name == script for line in expanded(path)] == []
