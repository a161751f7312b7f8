"""Relabelling: the same placement on GPUs that are alike."""

import pytest
from hypothesis import given, settings
from msgspec.structs import replace
from problems import Plan, Planted, fits, headroom, many_gpus, plans, values

from planner.search.problem import Block, PoolProblem, Problem
from planner.search.relabel import relabelled

Where = list[tuple[Block, ...]]


def pools(width: int, nodes: int) -> Problem:
    return Problem(roles=(), pools=(PoolProblem(capacity=1, width=width, nodes=tuple(range(nodes))),), stages=())


def blocks(*places: tuple[int, int, int]) -> tuple[Block, ...]:
    return tuple(Block(0, *place) for place in places)


@pytest.mark.parametrize(
    ("width", "nodes", "there", "before"),
    [
        (2, 1, [blocks((0, 0, 1)), blocks((0, 1, 1))], [blocks((0, 1, 1)), blocks((0, 0, 1))]),
        (1, 3, [blocks((0, 0, 1)), blocks((1, 0, 1))], [blocks((2, 0, 1)), blocks((0, 0, 1))]),
        (8, 1, [blocks((0, 0, 4)), blocks((0, 6, 1))], [blocks((0, 4, 4)), blocks((0, 1, 1))]),
        (8, 2, [blocks((0, 0, 8)), blocks((1, 2, 2))], [blocks((1, 0, 8)), blocks((0, 6, 2))]),
        (6, 1, [blocks((0, 0, 4)), blocks((0, 4, 1))], [blocks((0, 0, 4)), blocks((0, 5, 1))]),
    ],
)
def test_what_can_be_where_it_was_is_there(width: int, nodes: int, there: Where, before: Where) -> None:
    assert relabelled(pools(width, nodes), there, before) == before


def test_blocks_that_share_a_gpu_go_on_sharing_it() -> None:
    there = [blocks((0, 0, 2)), blocks((0, 0, 1)), blocks((0, 1, 1))]
    before = [blocks((0, 2, 2)), blocks((0, 3, 1)), blocks((0, 0, 1))]

    assert relabelled(pools(4, 1), there, before) == [blocks((0, 2, 2)), blocks((0, 3, 1)), blocks((0, 2, 1))]


def where(choices: Plan) -> Where:
    return [choice.blocks if choice else () for choice in choices]


@settings(max_examples=60, deadline=None)
@given(many_gpus())
def test_a_relabelled_plan_fits_and_is_worth_the_same(case: Planted) -> None:
    for one in list(plans(case.problem))[:8]:
        other = [
            choice and replace(choice, blocks=moved)
            for choice, moved in zip(one, relabelled(case.problem, where(one), where(case.choices or one)), strict=True)
        ]

        assert fits(case.problem, tuple(other))
        assert values(case.problem, tuple(other)) == values(case.problem, one)
        assert headroom(case.problem, tuple(other)) == headroom(case.problem, one)
        assert relabelled(case.problem, where(one), where(one)) == where(one)
