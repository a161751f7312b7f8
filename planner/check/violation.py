"""Violation: one thing in a plan that does not hold."""

from collections.abc import Iterator

from msgspec import Struct, to_builtins


class Violation(Struct, frozen=True, order=True):
    """Where something does not hold, and what."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def differing(stated: object, exact: object) -> str:
    """Say in which keys, as plan.yaml has them, what a plan states is not what it comes to."""
    said, found = dict(_leaves(to_builtins(stated))), dict(_leaves(to_builtins(exact)))
    return ", ".join(
        f"{key} {said.get(key, 'absent')}, recomputed {found.get(key, 'absent')}"
        for key in dict.fromkeys([*said, *found])
        if said.get(key) != found.get(key)
    )


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield every value within maps and lists with its path; what is None is absent."""
    if isinstance(value, dict | list | tuple):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, f"{path}.{key}" if path else f"{key}")
    elif value is not None:
        yield path, value
