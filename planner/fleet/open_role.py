"""The candidates of a role that names no models: what a careful person would look at in the catalog.

Nobody gets, without having asked for it, a model that cannot answer, one whose licence forbids the use, one that thinks
aloud because the engine cannot tell its thoughts from its answer, or a checkpoint of a publisher nobody knows.
"""

from msgspec.structs import replace

from planner.catalog import Catalog
from planner.facts.variant import Model
from planner.fleet.schema import OWN_TASKS

_WITH_TOOLS = {"agent": frozenset({"agent", "code", "general"})}
"""Task -> the tasks one of which a model is made for that does it with tools: it needs a parser of its calls."""

_ALL_ROUND = frozenset({"chat", "code", "math", "reasoning", "long-context"})
"""Tasks that all-round models are used for, whether somebody has published a score of theirs or not."""

_IN_PERSON = frozenset({"chat"})
"""Tasks in which somebody waits for every answer: nothing for models that are made to think first or to write code."""


def open_candidates(catalog: Catalog, task: str) -> tuple[Model, ...]:
    """Return the models for a task with the checkpoints of their makers and of publishers that many trust, by name."""
    scales = frozenset(catalog.accuracy.scales.get(task, ()))
    found = (_official(trusted(model, catalog)) for model in catalog.models if _serves(catalog, model, task, scales))
    return tuple(sorted((model for model in found if model.variants), key=lambda model: (model.name, model.repository)))


def _serves(catalog: Catalog, model: Model, task: str, scales: frozenset[str]) -> bool:
    """Whether a model is made for the task, or is an all-round model with a published score at it.

    An embedder, a reranker or a model that hears is taken unasked only where a benchmark compares it with others: its
    size and its date say little of how well it does.
    """
    scores = catalog.accuracy.scores(model)
    thinks_aloud = not model.reasoning_parser and any(row.mode == "thinking" for row in scores)
    if model.pretrained or model.non_commercial or thinks_aloud:
        return False
    if task in _WITH_TOOLS:
        return bool(model.tool_parser) and not _WITH_TOOLS[task].isdisjoint(model.tasks)
    if task in OWN_TASKS and scales and not any(row.scale in scales for row in scores):
        return False
    if task in model.tasks or (task in _ALL_ROUND and "general" in model.tasks):
        return True
    if task in _IN_PERSON:
        return False
    scored = task not in OWN_TASKS and any(row.scale in scales for row in scores)
    return scored and not set(model.tasks) <= set(OWN_TASKS)


def trusted(model: Model, catalog: Catalog) -> Model:
    """Return a model with the checkpoints of its maker and of publishers that many trust."""
    maker = publisher(model.base or model.repository)
    known = {maker, publisher(model.repository), *catalog.publishers}
    return replace(model, variants=tuple(v for v in model.variants if publisher(v.repository) in known))


def _official(model: Model) -> Model:
    """Return a model without what others have published in a class of schemes in which its maker has."""
    maker = publisher(model.base or model.repository)
    own = {variant.scheme_class for variant in model.variants if publisher(variant.repository) == maker}
    kept = [v for v in model.variants if publisher(v.repository) == maker or v.scheme_class not in own]
    return replace(model, variants=tuple(kept), others=tuple(v for v in model.variants if v not in kept))


def publisher(repository: str) -> str:
    """Return who published a checkpoint: what its id begins with."""
    return repository.partition("/")[0]
