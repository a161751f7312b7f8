"""Choices of an option that are looked up when they are asked for, because their room takes long to load."""

from collections.abc import Callable, Iterable
from functools import cached_property

import click


class Late(click.Choice):  # type: ignore[type-arg]  # click 8.1 takes none
    """One of some names, which are asked for with the option's value or with the help."""

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        self.case_sensitive = True
        self._names = names

    @cached_property
    def choices(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names, in their order."""
        return tuple(self._names())


def axes() -> list[str]:
    """Return the axes of a frontier, sorted."""
    from planner.plan import AXES

    return sorted(AXES)


def extra_targets() -> tuple[str, ...]:
    """Return what is rendered on request."""
    from planner.artifacts import EXTRA_TARGETS

    return EXTRA_TARGETS
