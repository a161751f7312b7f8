"""Here-documents of a shell: what stands in one, and which file it becomes."""

from typing import TYPE_CHECKING

from planner.adopt.scope import Scope
from planner.adopt.words import Run, fields, source, text

if TYPE_CHECKING:
    from tree_sitter import Node

_RUN_THEM = ("bash", "sh", "zsh", "dash", "ssh")
"""Programs that run what they are given to read."""


def document(statement: "Node", scope: Scope, run: Run) -> str | None:
    """Return the text of a statement's here-document with its variables put in; None where it has none."""
    redirect = _heredoc(statement)
    body = _first(redirect, "heredoc_body")
    if redirect is None or body is None:
        return None
    start = _first(redirect, "heredoc_start")
    found = source(body)
    if start is not None and source(start).isidentifier():  # without quotes
        found = _filled(body, scope, run)
    return "\n".join(line.lstrip("\t") for line in found.split("\n")) if source(redirect).startswith("<<-") else found


def words_of(statement: "Node", scope: Scope, run: Run) -> list[str]:
    """Return the words of the command that reads a here-document, and of one it is piped to."""
    command = statement.child_by_field_name("body")
    pipeline = _first(_heredoc(statement), "pipeline")
    found = []
    for one in [command, *(pipeline.named_children if pipeline else [])]:
        if one is not None and one.type == "command":
            kept = [child for child in one.named_children if not child.type.endswith("_redirect")]
            found += [word for child in kept for word in fields(child, scope, run)]
    return found


def written_to(statement: "Node", words: list[str], scope: Scope, run: Run) -> str:
    """Return the file that ``cat > FILE <<X`` and ``tee FILE <<X`` write; empty where they write none."""
    if "tee" in words:
        return next((word for word in words[words.index("tee") + 1 :] if not word.startswith("-")), "")
    redirect = _first(statement, "file_redirect") or _first(_heredoc(statement), "file_redirect")
    if "cat" not in words or redirect is None or "<" in source(redirect)[:2]:
        return ""
    return text(redirect.named_children[-1], scope, run)


def runs(words: list[str]) -> bool:
    """Whether a command runs what it reads."""
    return any(word.rsplit("/", 1)[-1] in _RUN_THEM for word in words)


def _heredoc(statement: "Node") -> "Node | None":
    return _first(statement, "heredoc_redirect")


def _first(node: "Node | None", kind: str) -> "Node | None":
    return next((child for child in node.named_children if child.type == kind), None) if node else None


def _filled(body: "Node", scope: Scope, run: Run) -> str:
    """Return the text with what the shell puts in; the grammar keeps some of what stands between to itself."""
    whole, at, found = body.text or b"", 0, ""
    for child in body.named_children:
        start, end = child.start_byte - body.start_byte, child.end_byte - body.start_byte
        found += whole[at:start].decode("utf-8", "replace")
        found += source(child) if child.type == "heredoc_content" else text(child, scope, run)
        at = end
    return scope.wrote(found + whole[at:].decode("utf-8", "replace"))
