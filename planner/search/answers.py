"""What a search has found -> its answer, with what is known of every stage."""

from msgspec.structs import replace

from planner.search.chain import HEADROOM, ceilings
from planner.search.decompose import Packed
from planner.search.problem import Answer, Block, Choice, Problem, StageValue
from planner.search.turns import saved


def placed_answer(
    decided: list[tuple[int, int] | None],
    found: list[tuple[Block, ...]],
    stages: tuple[StageValue, ...],
    digest: str,
) -> Answer:
    """Return the answer that choices and their places are."""
    made = [
        choice and Choice(candidate=choice[0], sequences=choice[1], blocks=there)
        for choice, there in zip(decided, found, strict=True)
    ]
    return Answer(choices=tuple(made), stages=stages, model_sha256=digest)


def packed_answer(problem: Problem, packed: Packed, bound: int, digest: str) -> Answer:
    """Return a packed plan with what is known of it: the bound of the first stage."""
    limits = ceilings(problem)
    found = [packed.board.blocks(role) for role in range(len(problem.roles))]
    headroom = sum(packed.board.free)
    stages = []
    for position, (name, value) in enumerate(zip((*problem.stages, HEADROOM), (*packed.value, headroom), strict=True)):
        limit = bound if position == 0 else limits[name]
        stages.append(StageValue(name=name, value=value, bound=limit, proven=position == 0 and value == bound))
    return placed_answer(list(packed.decided), found, tuple(stages), digest)


def left_free(problem: Problem, answer: Answer, stages: tuple[StageValue, ...]) -> tuple[StageValue, ...]:
    """Return stages with the headroom that the choices have where it was not maximised to the end.

    Sizes are only held above their line in the model: until headroom is maximised they may be larger than they need be.
    """
    left = sum(pool.capacity * pool.gpus for pool in problem.pools)
    for position, (role, choice) in enumerate(zip(problem.roles, answer.choices, strict=True)):
        if choice:
            candidate = role.candidates[choice.candidate]
            alone = problem.alone(position)
            size = problem.pools[candidate.pool].capacity if alone else candidate.footprint(choice.sequences)
            left -= size * candidate.width * len(choice.blocks)
    left += saved(problem, answer)
    return tuple(
        replace(stage, value=max(stage.value, left), bound=max(stage.bound, left))
        if stage.name == HEADROOM and not stage.proven
        else stage
        for stage in stages
    )
