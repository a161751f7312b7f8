"""``planner init --model NAME``: a starter role for models that are named."""

from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from planner.catalog import Catalog
from planner.cli.catalog_facts import Checkpoint
from planner.cli.starter import StarterRole
from planner.errors import InputError
from planner.facts.variant import Model
from planner.fleet import POOLING_TASKS, TASKS, TRANSCRIPTION, Fleet, FleetFile
from planner.fleet.load import fleet_of
from planner.plan import NoPlan
from planner.units import format_tokens, parse_tokens
from planner.yaml_source import parse_yaml

_LEAST, _WISH, _PROMPT, _ANSWER = (parse_tokens(text) for text in ("8k", "32k", "3k", "1k"))
_TEXT = 512
"""Tokens of a text that is embedded or ranked, when nobody says more."""


def asked_role(catalog: Catalog, names: Sequence[str]) -> StarterRole:
    """Return a role for models by their names: a task that all are made for, and a context that all can read.

    Raises:
        UnknownName: the catalog does not have one of them.
    """
    models = [catalog.find(name)[0] for name in names]
    task = _task(models)
    limit = min(Checkpoint(model, model.variants[0]).context_tokens or _WISH for model in models)
    least, wish = min(_LEAST, limit), min(_WISH, limit)
    if task == TRANSCRIPTION:
        request = f"{{prompt_tokens: {least // 4}, output_tokens: {least // 2}}}"
    elif task in POOLING_TASKS:
        request = f"{{prompt_tokens: {min(_TEXT, least)}}}"
    else:
        prompt, answer = min(_PROMPT, least // 2), min(_ANSWER, least // 4)
        request = f"{{prompt_tokens: {format_tokens(prompt)}, output_tokens: {format_tokens(answer)}}}"
    context = f"{{min: {format_tokens(least)}, wish: {format_tokens(wish)}}}"
    return StarterRole(task=task, models=f"models: [{', '.join(names)}]", context=context, request=request)


def _task(models: Sequence[Model]) -> str:
    """Return the task that most say of all models: general where they have it, else the first of the planner's."""
    shared = set(TASKS).intersection(*(model.tasks for model in models)) or set(models[0].tasks) or {"general"}
    return "general" if "general" in shared else next((task for task in TASKS if task in shared), "general")


def read_back(text: str, path: Path, catalog: Catalog) -> Fleet:
    """Return the fleet of a text that is to be written.

    Raises:
        InputError: ``planner solve`` would refuse it; its problems have no place, because no file has that text.
    """
    try:
        return fleet_of(FleetFile(parse_yaml(text, str(path)), path.parent), catalog)
    except InputError as error:
        found = (replace(one, file="the fleet asked for", line=0, column=0) for one in error.problems)
        raise InputError(tuple(found)) from None


def without_plan(fleet: Fleet, catalog: Catalog) -> NoPlan | None:
    """Return why a fleet has no plan; None where it has one."""
    from planner.cli.progress import watched
    from planner.search.budget import BUDGET
    from planner.solve import solve

    answer = watched(fleet, lambda: solve(fleet, catalog, BUDGET, None))
    return answer if isinstance(answer, NoPlan) else None
