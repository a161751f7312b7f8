"""What a shell knows while it runs: its variables, its functions, and how much it may still do."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct, field

Value = str | list[str]

_STEPS = 20_000
_DEPTH = 40
_TEXT = 1 << 20


class Enough(Exception):
    """A script does more than is read of it."""


class Scope(Struct):
    """The state of one shell. ``read`` returns the text of a file that is at hand, by the end of its path, or None.

    ``made`` are the files that the script writes, by their paths. ``unsaid`` is how many arguments were shifted away of
    a script whose arguments nobody has named yet; ``assume`` is whether a condition that cannot be told counts as met.
    """

    variables: dict[str, Value] = field(default_factory=dict)
    positional: list[str] = field(default_factory=list)
    unsaid: int | None = None
    assume: bool = False
    functions: dict[str, Any] = field(default_factory=dict)
    read: Callable[[str], str | None] = lambda path: None
    made: dict[str, str] = field(default_factory=dict)
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

    def argument(self, number: int) -> str | None:
        """Return an argument, counted from 1; ``${N}`` where none are named yet, None where it is not given."""
        if self.unsaid is not None:
            return f"${{{number + self.unsaid}}}"
        return self.positional[number - 1] if 0 < number <= len(self.positional) else None

    def shift(self, count: int) -> None:
        """Take the first arguments away."""
        del self.positional[:count]
        self.unsaid = None if self.unsaid is None else self.unsaid + count

    def items(self, name: str) -> list[str] | None:
        """Return a variable as a list; None when it is not set."""
        value = self.variables.get(name)
        return [value] if isinstance(value, str) else value
