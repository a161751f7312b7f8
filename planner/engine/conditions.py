"""Conditions: rules of an engine as data, a list of what is allowed for each fact, and eras that say since when.

A rule in ``catalog/engines`` names facts and what they may be: ``{capability: {least: 80}, head_size: [64, 128]}``.
It holds where every named fact is among the values listed, or in the range; facts it does not name do not matter.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from planner.errors import InvalidConfig

Fact = str | int | bool | None
Facts = Mapping[str, Fact]


class Condition(Struct, frozen=True):
    """What one fact may be: one of ``values``, or a multiple of ``step`` from ``least`` to ``most``."""

    values: tuple[Fact, ...] | None
    least: int = 0
    most: int = 1 << 31
    step: int = 1

    def holds(self, fact: Fact) -> bool:
        """Whether a fact is allowed; a fact that is not known is."""
        if self.values is not None:
            return fact in self.values
        return fact is None or (self.least <= int(fact) <= self.most and int(fact) % self.step == 0)


class Rule(Struct, frozen=True):
    """Conditions that must all hold."""

    conditions: Mapping[str, Condition]

    def failing(self, facts: Facts, fewer_than: int = 1 << 31) -> tuple[str, ...] | None:
        """Return the names of the facts that are not as the rule wants them; None where they are not fewer than so."""
        found: list[str] = []
        for name, condition in self.conditions.items():
            if not condition.holds(facts.get(name)):
                found.append(name)
                if len(found) >= fewer_than:
                    return None
        return tuple(found)

    def holds(self, facts: Facts) -> bool:
        """Whether all conditions hold."""
        return self.failing(facts, 1) is not None


def read_rule(stated: Mapping[str, Any], where: str) -> Rule:
    """Return a rule as the data file states it.

    Raises:
        InvalidConfig: a condition is neither a list of values nor a range.
    """
    return Rule({str(name): _condition(value, f"{where}.{name}") for name, value in stated.items()})


def _condition(stated: object, where: str) -> Condition:
    if isinstance(stated, Sequence) and not isinstance(stated, str):
        return Condition(tuple(stated))
    if isinstance(stated, Mapping) and stated and stated.keys() <= {"least", "most", "step"}:
        return Condition(None, **{str(name): int(value) for name, value in stated.items()})
    raise InvalidConfig("engines", where, "is neither a list of values nor a range of least, most and step")


def nearest(rules: Sequence[Rule], facts: Facts) -> tuple[str, ...] | None:
    """Return the facts that fail in the rule that comes closest; none where one holds, None where there is no rule."""
    best: tuple[str, ...] | None = None
    for rule in rules:
        failing = rule.failing(facts) if best is None else rule.failing(facts, len(best))
        if failing is not None:
            best = failing
        if not best:
            break
    return best
