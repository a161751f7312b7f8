"""Violation: one thing in a plan that does not hold."""

from msgspec import Struct


class Violation(Struct, frozen=True, order=True):
    """Where something does not hold, and what."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"
