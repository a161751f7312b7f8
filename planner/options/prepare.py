"""Role x catalog -> options: the variants that pins and floors leave, at every rung of every ladder, with memory."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from planner.accuracy import Accuracy
from planner.architecture import Architecture
from planner.catalog import Catalog
from planner.engine import EngineProfile
from planner.errors import InvalidConfig, UnsupportedModel
from planner.flags import ServeFlags, default_flags
from planner.fleet import Fleet, Role
from planner.gpu import GPU
from planner.memory import requirements
from planner.memory.demand import demand
from planner.memory.estimate import Server
from planner.options import ladders, limits
from planner.options.figures import RoleFigures
from planner.options.option import Option, Prepared, Reason, Rejection, RoleOptions
from planner.options.prune import prune
from planner.options.served import context_limit, served
from planner.options.worth import Measure, measure, worth
from planner.quantization import Quantization
from planner.variant import Model, Variant


@dataclass(frozen=True, slots=True)
class Place:
    """What a server would run on: one GPU of a kind, the memory of it that is free, an engine version."""

    gpu: GPU
    capacity_bytes: int
    profile: EngineProfile


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A variant that can be sized, with one KV cache dtype."""

    model: Model
    variant: Variant
    architecture: Architecture
    quantization: Quantization
    kv_cache_dtype: str

    @property
    def effective_cache(self) -> str:
        """The KV cache dtype that ``auto`` means for this checkpoint."""
        return self.quantization.kv_cache_dtype or "auto" if self.kv_cache_dtype == "auto" else self.kv_cache_dtype

    def rejected(self, role: Role, reason: Reason, wanted: int = 0, found: int = 0, detail: str = "") -> Rejection:
        """Return a rejection of this candidate."""
        return Rejection(
            role=role.name,
            model=self.model.name,
            repository=self.variant.repository,
            kv_cache_dtype=self.kv_cache_dtype,
            reason=reason,
            wanted=wanted,
            found=found,
            detail=detail,
        )


def prepare(fleet: Fleet, catalog: Catalog, profile: EngineProfile) -> Prepared:
    """Return the options of every role of a fleet."""
    capacity = fleet.gpu.memory_bytes - fleet.memory_in_use_bytes
    place = Place(fleet.gpu, capacity, profile)
    return Prepared(
        gpu=fleet.gpu,
        profile=profile,
        capacity_bytes=capacity,
        roles=tuple(prepare_role(role, place, catalog) for role in fleet.roles),
    )


def prepare_role(role: Role, place: Place, catalog: Catalog) -> RoleOptions:
    """Return the options of one role, undominated and in canonical order, and its rejections, sorted."""
    figures = RoleFigures(role, catalog)
    allowed = [(model, variant) for model in role.models for variant in model.variants if role.allows(variant)]
    best = measure([figures.of(model, variant, "auto", role.context_min) for model, variant in allowed])
    rejections = [_pinned_out(role, model, variant) for model in role.models for variant in model.variants]
    found: list[Option] = []
    refused: list[Rejection] = [item for item in rejections if item]
    for candidate in _sized(role, place, allowed, refused):
        found.extend(_options(role, place, candidate, figures, best, refused))
    found.sort(key=_canonical)
    fitting = [option for option in found if option.least_bytes <= place.capacity_bytes]
    return RoleOptions(
        role=role, options=prune(fitting), considered=tuple(found), rejections=tuple(sorted(set(refused)))
    )


def _pinned_out(role: Role, model: Model, variant: Variant) -> Rejection | None:
    if role.allows(variant):
        return None
    pinned = role.variant is not None and role.variant != variant.repository
    return Rejection(
        role=role.name,
        model=model.name,
        repository=variant.repository,
        reason="variant" if pinned else "scheme",
        detail=role.variant or "" if pinned else variant.scheme,
    )


def _sized(
    role: Role, place: Place, allowed: list[tuple[Model, Variant]], refused: list[Rejection]
) -> Iterator[_Candidate]:
    """Yield the candidates that engine and GPU accept, each with every KV cache dtype the role leaves open."""
    for model, variant in allowed:
        try:
            architecture, quantization = served(model, variant, role.task)
        except (InvalidConfig, UnsupportedModel) as error:
            text = str(error).splitlines()[0].removeprefix(f"{variant.repository}: ")
            refused.append(_refusal(role, model, variant, "unsupported", text))
            continue
        if needed := limits.engine_refusal(model, variant, place.profile):
            refused.append(_refusal(role, model, variant, "engine", needed))
        else:
            yield from _with_caches(
                role, place, _Candidate(model, variant, architecture, quantization, "auto"), refused
            )


def _refusal(role: Role, model: Model, variant: Variant, reason: Reason, detail: str) -> Rejection:
    return Rejection(role=role.name, model=model.name, repository=variant.repository, reason=reason, detail=detail)


def _with_caches(role: Role, place: Place, candidate: _Candidate, refused: list[Rejection]) -> Iterator[_Candidate]:
    if not candidate.quantization.kv_cache_dtype and not _has_cache(candidate.architecture):
        yield candidate
        return
    for kv_cache_dtype in (role.kv_cache_dtype,) if role.kv_cache_dtype else limits.KV_CACHE_DTYPES:
        one = replace(candidate, kv_cache_dtype=kv_cache_dtype)
        if kv_cache_dtype != "auto" and candidate.effective_cache != "auto" and not role.kv_cache_dtype:
            continue
        if text := limits.cache_refusal(one.effective_cache, candidate.model, candidate.architecture, place.gpu):
            refused.append(one.rejected(role, "capability", detail=text))
        else:
            yield one


def _has_cache(architecture: Architecture) -> bool:
    return any(layer.attention and layer.attention.cached for layer in architecture.layers)


def _options(
    role: Role,
    place: Place,
    candidate: _Candidate,
    figures: RoleFigures,
    best: Measure,
    refused: list[Rejection],
) -> Iterator[Option]:
    """Yield every rung of one candidate up to the first context that does not fit an otherwise empty GPU."""
    limit = context_limit(candidate.model, candidate.architecture)
    lengths = ladders.contexts(role.context_min, role.context_wish, limit)
    if not lengths:
        refused.append(candidate.rejected(role, "context", role.context_min, limit))
    for length in lengths:
        accuracy = figures.of(candidate.model, candidate.variant, candidate.effective_cache, length)
        rungs = _inaccurate(role, candidate, accuracy, best) or _rungs(role, place, candidate, accuracy, best, length)
        rejection = rungs if isinstance(rungs, Rejection) else None
        if not isinstance(rungs, Rejection):
            yield from rungs
            smallest = min(option.least_bytes for option in rungs)
            if smallest <= place.capacity_bytes:
                continue
            rejection = candidate.rejected(role, "memory", smallest, place.capacity_bytes)
        if length == lengths[0] and rejection:
            refused.append(rejection)
        return


def _inaccurate(role: Role, candidate: _Candidate, accuracy: Accuracy, best: Measure) -> Rejection | None:
    """Return why the accuracy is not enough: unknown where others are known, or below a floor of the role."""
    if best.figure(accuracy) is None:
        unscored = best.kind == "score" and accuracy.recovery_median is not None
        detail = accuracy.scale if unscored else candidate.variant.scheme
        return candidate.rejected(role, "unscored" if unscored else "unknown", detail=detail)
    for reason, floor, found in (
        ("recovery", role.recovery_floor, accuracy.recovery_floor),
        ("score", role.score_floor, accuracy.score_floor),
    ):
        if floor is not None and (found is None or found < floor):
            kind: Reason = "recovery" if reason == "recovery" else "score"
            detail = "" if found is not None else "unknown"
            return candidate.rejected(role, kind, floor, found or 0, detail)
    return None


def _rungs(
    role: Role, place: Place, candidate: _Candidate, accuracy: Accuracy, best: Measure, length: int
) -> list[Option] | Rejection:
    """Return every batch size and sequence limit at one context, or why the engine refuses them."""
    defaults = _flags(place, candidate, length, role.concurrency_target)
    architecture, quantization = candidate.architecture, candidate.quantization
    if text := requirements.refusal(architecture, quantization, defaults, place.profile, place.gpu):
        return candidate.rejected(role, "capability", detail=text)
    figure = best.figure(accuracy) or 0
    found = []
    default_batch = defaults.max_num_batched_tokens
    whole_prompts = architecture.is_pooling or place.profile.whole_prompt_batches
    least = max(role.concurrency_min, length if whole_prompts else min(ladders.SMALLEST_BATCH, default_batch))
    for batch in ladders.batches(default_batch, least):
        for sequences in ladders.sequence_limits(role.concurrency_min, min(role.concurrency_target, batch)):
            flags = replace(defaults, max_num_batched_tokens=batch, max_num_seqs=sequences)
            server = Server(architecture=architecture, quantization=quantization, flags=flags)
            request = role.request_tokens or length
            option = Option(
                role=role.name,
                model=candidate.model,
                variant=candidate.variant,
                server=server,
                request_tokens=request,
                sequences_min=role.concurrency_min,
                sequences_max=sequences,
                accuracy=accuracy,
                demand=demand(server, place.gpu, place.profile, request),
                worth=worth(role, figure, best, length, batch, default_batch),
            )
            found.append(option)
    return found


def _flags(place: Place, candidate: _Candidate, length: int, sequences: int) -> ServeFlags:
    """Return the engine's own flags at a context and a number of sequences."""
    return default_flags(
        place.profile,
        place.gpu,
        candidate.architecture,
        max_model_len=length,
        max_num_seqs=sequences,
        kv_cache_dtype=candidate.kv_cache_dtype,
    )


def _canonical(option: Option) -> tuple[int | str, ...]:
    """Order options by worth, then by name, so that equal fleets list equal options whatever the catalog's order."""
    value = option.worth
    return (
        -value.accuracy,
        -value.accuracy_left,
        option.kv_cache_dtype,
        option.variant.repository,
        -value.context,
        -value.batch,
        option.sequences_max,
    )
