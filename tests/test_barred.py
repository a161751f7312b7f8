"""Another combination than a known one: its candidates are barred together, and the best of all others is found."""

from hypothesis import given, settings
from msgspec.structs import replace
from problems import Plan, Planted, many_gpus, plans, values

from planner.search.optimise import optimise


@settings(max_examples=100, deadline=None)
@given(many_gpus())
def test_without_the_known_combination_the_best_plan_is_found(case: Planted) -> None:
    """The chosen candidates are barred together; a role may have no others."""
    if not any(case.choices):
        return
    chosen = [choice.candidate if choice else None for choice in case.choices]
    roles = tuple(
        replace(
            role,
            candidates=tuple(replace(one, barred=index == number) for index, one in enumerate(role.candidates)),
        )
        for role, number in zip(case.problem.roles, chosen, strict=True)
    )
    problem = replace(case.problem, roles=roles)
    others = (one for one in plans(problem) if not known(one, chosen))
    best = max((values(problem, choices) for choices in others), default=None)
    answer = optimise(problem)

    assert (answer and values(problem, answer.choices)) == best
    assert answer is None or not known(answer.choices, chosen)


def known(choices: Plan, chosen: list[int | None]) -> bool:
    """Whether every role that has a barred candidate chooses it."""
    pairs = [(choice, number) for choice, number in zip(choices, chosen, strict=True) if number is not None]
    return bool(pairs) and all(choice and choice.candidate == number for choice, number in pairs)
