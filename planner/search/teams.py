"""Teams: roles that are one job, done by servers in several pools which need not be alike.

The first role of a team leads: it counts what the job is worth, and is served whenever another one is. The others add
requests from further pools, at most one of them from each, with candidates that go with the one that leads. Of the
ways to say who leads, the one with the lowest rank does, so that every plan can be said in one way alone.
"""

from collections.abc import Sequence

from planner.search.problem import Candidate, Decided, Problem, Team


def goes_with(lead: Candidate, other: Candidate) -> bool:
    """Whether servers of a candidate may be beside those that lead their team."""
    return lead.kin == other.kin and lead.pool != other.pool and lead.rank < other.rank


def surplus(problem: Problem, team: Team, decided: Sequence[Decided]) -> int:
    """Return the requests of a team beyond those that count."""
    return max(0, _requests(problem, team, decided) - team.most)


def wasted(problem: Problem, decided: Sequence[Decided]) -> tuple[int, ...]:
    """Return what the surplus of all teams is worth in each stage, which candidates count and plans do not."""
    found = [0] * len(problem.stages)
    for team in problem.teams:
        beyond = surplus(problem, team, decided)
        found = [value + beyond * each for value, each in zip(found, team.worth, strict=True)]
    return tuple(found)


def sound(problem: Problem, decided: Sequence[Decided]) -> bool:
    """Whether what was decided keeps the rules of all teams."""
    return all(_sound(problem, team, decided) for team in problem.teams)


def _sound(problem: Problem, team: Team, decided: Sequence[Decided]) -> bool:
    lead, *others = _members(problem, team, decided)
    if lead is None:
        return not any(others)
    there = [lead, *(one for one in others if one)]
    return (
        all(goes_with(lead, other) for other in there[1:])
        and _requests(problem, team, decided) >= team.least
        and team.servers in (None, sum(one.blocks for one in there))
    )


def _requests(problem: Problem, team: Team, decided: Sequence[Decided]) -> int:
    pairs = [(problem.roles[role].candidates[choice[0]], choice[1]) for role in team.roles if (choice := decided[role])]
    return sum(candidate.ranks * sequences for candidate, sequences in pairs)


def _members(problem: Problem, team: Team, decided: Sequence[Decided]) -> list[Candidate | None]:
    return [problem.roles[role].candidates[choice[0]] if (choice := decided[role]) else None for role in team.roles]
