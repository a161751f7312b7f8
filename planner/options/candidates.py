"""Candidates: the variants of a role's models that its pins, the engine and the GPU accept, with a KV cache dtype."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from planner.architecture import Architecture
from planner.engine import EngineProfile
from planner.errors import InvalidConfig, UnsupportedModel
from planner.fleet import Role
from planner.gpu import GPU
from planner.options import limits
from planner.options.option import Reason, Rejection
from planner.options.served import served
from planner.quantization import Quantization
from planner.variant import Model, Variant


@dataclass(frozen=True, slots=True)
class Place:
    """What a server would run on: one GPU of a kind, the memory of it that is free, an engine version."""

    gpu: GPU
    capacity_bytes: int
    profile: EngineProfile


@dataclass(frozen=True, slots=True)
class Candidate:
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


def allowed(role: Role) -> list[tuple[Model, Variant]]:
    """Return the variants that the role's pins leave."""
    return [(model, variant) for model in role.models for variant in model.variants if role.allows(variant)]


def pinned_out(role: Role) -> list[Rejection]:
    """Return the variants that the role's pins exclude."""
    found = []
    for model in role.models:
        for variant in model.variants:
            if role.allows(variant):
                continue
            by_variant = role.variant is not None and role.variant != variant.repository
            detail = role.variant or "" if by_variant else variant.scheme
            found.append(_refused(role, model, variant, "variant" if by_variant else "scheme", detail))
    return found


def candidates(role: Role, place: Place) -> Iterator[Candidate | Rejection]:
    """Yield what can be sized, with every KV cache dtype the role leaves open, and what cannot."""
    for model, variant in allowed(role):
        try:
            architecture, quantization = served(model, variant, role.task)
        except (InvalidConfig, UnsupportedModel) as error:
            text = str(error).splitlines()[0].removeprefix(f"{variant.repository}: ")
            yield _refused(role, model, variant, "unsupported", text)
            continue
        if needed := limits.engine_refusal(model, variant, place.profile):
            yield _refused(role, model, variant, "engine", needed)
        else:
            yield from _with_caches(role, place, Candidate(model, variant, architecture, quantization, "auto"))


def _with_caches(role: Role, place: Place, candidate: Candidate) -> Iterator[Candidate | Rejection]:
    if not candidate.quantization.kv_cache_dtype and not _has_cache(candidate.architecture):
        yield candidate
        return
    for kv_cache_dtype in (role.kv_cache_dtype,) if role.kv_cache_dtype else limits.KV_CACHE_DTYPES:
        one = replace(candidate, kv_cache_dtype=kv_cache_dtype)
        if kv_cache_dtype != "auto" and candidate.effective_cache != "auto" and not role.kv_cache_dtype:
            continue
        text = limits.cache_refusal(one.effective_cache, candidate.model, candidate.architecture, place.gpu)
        yield one.rejected(role, "capability", detail=text) if text else one


def _has_cache(architecture: Architecture) -> bool:
    return any(layer.attention and layer.attention.cached for layer in architecture.layers)


def _refused(role: Role, model: Model, variant: Variant, reason: Reason, detail: str) -> Rejection:
    return Rejection(role=role.name, model=model.name, repository=variant.repository, reason=reason, detail=detail)
