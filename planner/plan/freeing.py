"""Freeing: what is to have no server, and the plan in which it has none."""

from typing import Literal, TypeAlias

from msgspec import Struct

from planner.plan.moves import Moves
from planner.plan.plan import Plan

What: TypeAlias = Literal["nodes", "gpus"]


class Freeing(Struct, frozen=True, kw_only=True):
    """What is to be free: ``count`` nodes, or ``count`` neighbouring GPUs of one node, where a wide server could be."""

    what: What
    count: int


class FreedPlan(Struct, frozen=True, kw_only=True):
    """The plan with servers elsewhere, the places that are free then, and how the machines get there.

    ``at_least`` servers have to move in any such plan; ``moved`` are moved in this one, and it is proven that fewer do
    not do where they are equal. Without a ``plan`` there is none, and ``reason`` says why.
    """

    asked: Freeing
    free: tuple[str, ...] = ()
    moved: int = 0
    at_least: int = 0
    plan: Plan | None = None
    moves: Moves | None = None
    reason: str = ""
