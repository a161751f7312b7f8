"""The models a role may use: names in the file -> models of the catalog or in a folder, and the pins on them."""

from msgspec import Struct
from msgspec.structs import replace

from planner.architecture import Architecture
from planner.config_json import parse_config
from planner.errors import InvalidConfig, UnknownName, UnsupportedModel
from planner.facts.variant import Model, Variant
from planner.fleet import values
from planner.fleet.findings import Findings
from planner.fleet.fleet import Figure
from planner.fleet.local import is_folder, local_model
from planner.fleet.open_role import open_candidates
from planner.fleet.schema import OWN_TASKS, FigureMap, RoleMap
from planner.units import format_tokens
from planner.yaml_source import FieldPath


class Candidates(Struct, frozen=True):
    """The candidates of one role in order of their names, the repository of its pinned variant, its own figures."""

    models: tuple[Model, ...] = ()
    variant: str | None = None
    figures: tuple[Figure, ...] = ()


def candidates(findings: Findings, path: FieldPath, read: RoleMap) -> Candidates:
    """Resolve the names of a role; what cannot be resolved is noted in ``findings`` and left out."""
    pinned = _find(findings, (*path, "variant"), read.variant) if read.variant else None
    if read.models:
        models = _named(findings, path, read)
    elif pinned:
        models = (pinned[0],)
    else:
        models = _by_task(findings, path, read)
    if pinned and models and not any(pinned[1] in model.variants for model in models):
        names = ", ".join(model.name for model in models)
        findings.refuse((*path, "variant"), f"{pinned[1].repository} is not a variant of {names}")
    _check_schemes(findings, path, read, pinned[1:] if pinned else tuple(v for m in models for v in m.variants))
    return Candidates(models, pinned[1].repository if pinned else None, tuple(_figures(findings, path, read, models)))


def check_limits(findings: Findings, path: FieldPath, read: RoleMap, models: tuple[Model, ...]) -> None:
    """Refuse named models that cannot be sized, and a minimum context that no candidate can read."""
    limits: dict[str, int] = {}
    for model in models:
        try:
            limits[model.name] = _limit(model)
        except (InvalidConfig, UnsupportedModel) as error:
            _refuse_model(findings, (*path, "models" if read.models else "variant"), error)
    least = read.context.min if read.context else None
    if least and limits and max(limits.values()) < least:
        name, limit = max(limits.items(), key=lambda item: (item[1], item[0]))
        where = (*path, "context", "min") if (*path, "context", "min") in findings.source.values else (*path, "context")
        which = name if len(limits) == 1 else f"even {name}, the longest of the candidates,"
        message = f"{format_tokens(least)} tokens is too long: {which} reads at most {format_tokens(limit)}"
        findings.refuse(where, message, "lower the minimum or name a model with a longer context")


def drafter(findings: Findings, path: FieldPath, name: str) -> tuple[str, Architecture] | None:
    """Return the repository of the model that drafts tokens for a role, and what it is made of.

    Its weights are counted as they are without quantization, which is the most they take.
    """
    found = _find(findings, path, name)
    if found is None:
        return None
    model, variant = found
    try:
        architecture, _ = parse_config(model.config_for(variant), where=variant.repository)
    except (InvalidConfig, UnsupportedModel) as error:
        _refuse_model(findings, path, error)
        return None
    return variant.path or variant.repository, architecture


def _find(findings: Findings, path: FieldPath, name: str) -> tuple[Model, Variant] | None:
    try:
        if is_folder(name):
            model = local_model(name, findings.folder)
            return model, model.variants[0]
        return findings.catalog.find(name)
    except UnknownName as error:
        findings.refuse_name(path, error)
    except (InvalidConfig, UnsupportedModel) as error:
        _refuse_model(findings, path, error)
    return None


def _refuse_model(findings: Findings, path: FieldPath, error: InvalidConfig | UnsupportedModel) -> None:
    message, _, hint = str(error).partition("\n  hint: ")
    findings.refuse(path, message, hint)


def _named(findings: Findings, path: FieldPath, read: RoleMap) -> tuple[Model, ...]:
    """The models the file names; a variant's name leaves its model only that variant."""
    chosen: dict[str, tuple[Model, frozenset[str] | None]] = {}
    for index, name in enumerate(filter(None, read.models or ())):
        here = findings.item((*path, "models"), index)
        found = _find(findings, here, name)
        if found is None:
            continue
        model, variant = found
        if refusal := _task_refusal(model, read.task):
            findings.refuse(here, *refusal)
        known = chosen.get(model.repository, (model, frozenset()))[1]
        only = None if variant.native or known is None else known | {variant.repository}
        chosen[model.repository] = (model, only)
    models = [model if only is None else _only(model, only) for model, only in chosen.values()]
    return tuple(sorted(models, key=lambda model: (model.name, model.repository)))


def _only(model: Model, repositories: frozenset[str]) -> Model:
    """Return a model left with some of its checkpoints; what was measured of the others still tells of their scheme."""
    kept = tuple(variant for variant in model.variants if variant.repository in repositories)
    left = tuple(variant for variant in model.variants if variant.repository not in repositories)
    return replace(model, variants=kept, others=(*model.others, *left))


def _task_refusal(model: Model, task: str | None) -> tuple[str, str] | None:
    """A model that returns vectors or hears cannot chat, and the other way round; between texts anything goes."""
    if task is None or not model.tasks or task in model.tasks:
        return None
    apart = set(model.tasks) <= set(OWN_TASKS)
    if apart or task in (*OWN_TASKS, "vision"):
        return f"{model.name} does not do the task {task}", f"its tasks are {', '.join(model.tasks)}"
    return None


def _by_task(findings: Findings, path: FieldPath, read: RoleMap) -> tuple[Model, ...]:
    """The catalog's models for the task."""
    if read.task is None or findings.problems:
        return ()
    models = open_candidates(findings.catalog, read.task)
    if not models:
        findings.refuse((*path, "task"), f"the catalog has no model for the task {read.task}", "name models yourself")
    return models


def _check_schemes(findings: Findings, path: FieldPath, read: RoleMap, variants: tuple[Variant, ...]) -> None:
    allowed = tuple(filter(None, read.schemes or ()))
    known = findings.catalog.scheme_names
    unknown = False
    for index, scheme in enumerate(allowed):
        if scheme not in known:
            unknown = True
            hint = values.suggestion(scheme, known, f"known: {', '.join(known)}")
            findings.refuse(findings.item((*path, "schemes"), index), f"unknown scheme {values.found(scheme)}", hint)
    published = sorted({variant.scheme for variant in variants})
    if allowed and published and not unknown and not set(allowed) & set(published):
        message = f"no candidate is published in {' or '.join(allowed)}"
        findings.refuse((*path, "schemes"), message, f"the candidates have {', '.join(published)}")


def _figures(findings: Findings, path: FieldPath, read: RoleMap, models: tuple[Model, ...]) -> list[Figure]:
    found = []
    for name, figure in sorted(read.accuracy.figures.items()):
        here = (*path, "accuracy", "figures", name)
        if (resolved := _find(findings, here, name)) is None:
            continue
        model, variant = resolved
        if models and model.repository not in {candidate.repository for candidate in models}:
            findings.refuse(here, f"{model.name} is not a candidate of this role", "name it under models", at_key=True)
        if refusal := _figure_refusal(variant, figure):
            findings.refuse(here, *refusal, at_key=True)
        source = figure.source or "given in fleet.yaml"
        found.append(
            Figure(name=variant.repository, score=figure.score, recovery=figure.recovery, source=source),
        )
    return found


def _figure_refusal(variant: Variant, figure: FigureMap) -> tuple[str, str] | None:
    if figure.score is None and figure.recovery is None and not figure.model_extra:
        return "a figure needs a score, a recovery, or both", "write {score: 71.5, source: our test suite}"
    if figure.recovery is not None and variant.native:
        return "recovery compares a quantized variant with this model", "name the quantized variant instead"
    return None


def _limit(model: Model) -> int:
    """The longest context of any variant that can be sized; raises what the last one raised when none can."""
    limits: list[int] = []
    for variant in model.variants:
        try:
            architecture, _ = parse_config(model.config_for(variant), where=variant.repository)
        except (InvalidConfig, UnsupportedModel):
            if variant is model.variants[-1] and not limits:
                raise
        else:
            limits.append(min(architecture.max_model_len, model.context_limit or architecture.max_model_len))
    return max(limits)
