"""What a shell knows while it runs: its variables, its functions, and how much it may still do."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Value = str | list[str]

_STEPS = 20_000
_DEPTH = 40
_TEXT = 1 << 20


class Enough(Exception):
    """A script does more than is read of it."""


@dataclass(slots=True)
class Scope:
    """The state of one shell. ``read`` returns the text of a file that is at hand, by the end of its path, or None."""

    variables: dict[str, Value] = field(default_factory=dict)
    positional: list[str] = field(default_factory=list)
    functions: dict[str, Any] = field(default_factory=dict)
    read: Callable[[str], str | None] = lambda path: None
    steps: int = 0
    depth: int = 0
    written: int = 0

    def step(self) -> None:
        """Count one command; raises Enough beyond the limit."""
        self.steps += 1
        if self.steps > _STEPS or self.depth > _DEPTH:
            raise Enough

    def wrote(self, text: str) -> str:
        """Count text that was expanded, and return it; raises Enough beyond the limit."""
        self.written += len(text)
        if self.written > _TEXT:
            raise Enough
        return text

    def text(self, name: str) -> str | None:
        """Return a variable as one text; None when it is not set."""
        value = self.variables.get(name)
        return " ".join(value) if isinstance(value, list) else value

    def items(self, name: str) -> list[str] | None:
        """Return a variable as a list; None when it is not set."""
        value = self.variables.get(name)
        return [value] if isinstance(value, str) else value
