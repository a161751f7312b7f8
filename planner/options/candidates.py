"""Candidates: the variants of a role's models that its pins, the engine and the GPUs accept, in every place."""

from collections.abc import Iterator, Sequence
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from planner.architecture import Architecture
from planner.config_json.hearing import HEARING
from planner.engine.faults import Fault
from planner.engine.flags import ServeFlags, holds_whole_prompts
from planner.engine.settings import serve_flags
from planner.errors import InvalidConfig, UnsupportedModel
from planner.facts.quantization import Quantization
from planner.facts.variant import Model, Variant
from planner.fleet import TRANSCRIPTION, Role
from planner.memory.refusals import faults_in_reach
from planner.memory.started import started
from planner.memory.terms import Server
from planner.options import limits
from planner.options.layouts import Layout, layouts
from planner.options.option import Reason, Rejection
from planner.options.place import Place
from planner.options.served import context_limit, served
from planner.tensors.identity import Same


class Candidate(Struct, frozen=True, eq=False, dict=True):
    """A variant that can be sized, with one KV cache dtype, on GPUs of one pool, shared out over them in one way.

    What does not depend on lengths, batches and sequences is found once for all of them.
    """

    place: Place
    layout: Layout
    model: Model
    variant: Variant
    architecture: Architecture
    quantization: Quantization
    kv_cache_dtype: str

    @property
    def named(self) -> tuple[Model, Variant]:
        """The checkpoint, with the model it is of."""
        return self.model, self.variant

    @property
    def effective_cache(self) -> str:
        """The KV cache dtype that ``auto`` means for this checkpoint."""
        return self.quantization.kv_cache_dtype or "auto" if self.kv_cache_dtype == "auto" else self.kv_cache_dtype

    @cached_property
    def nodes(self) -> int:
        """The nodes each server is on; 0 when the place has not GPUs enough."""
        layout = self.layout
        return self.place.nodes.server_nodes(
            layout.tensor_parallel_size, layout.pipeline_parallel_size, layout.data_parallel_size
        )

    @property
    def blocks(self) -> int:
        """How many groups of adjacent GPUs each server has: one for each pipeline stage, or each node with ranks."""
        apart = self.nodes > 1 or self.layout.data_parallel_size > 1
        return self.nodes if apart else self.layout.pipeline_parallel_size

    @property
    def width(self) -> int:
        """The GPUs of each group."""
        return self.layout.ranks // self.blocks

    @cached_property
    def context_limit(self) -> int:
        """The longest context to plan for."""
        return context_limit(self.model, self.architecture)

    @cached_property
    def whole_prompts(self) -> bool:
        """Whether a batch must hold a whole prompt."""
        return holds_whole_prompts(self.architecture, self.place.profile)

    @cached_property
    def serious_faults(self) -> tuple[Fault, ...]:
        """The serious known faults of the engine that settings alone decide about."""
        place = self.place
        model = Same(self.architecture), Same(self.quantization)
        ranks = self.layout.ranks
        found = faults_in_reach(*model, Same(place.profile), Same(place.gpu), ranks)
        return tuple(fault for fault in found if fault.serious)

    def server(self, flags: ServeFlags) -> Server:
        """Return a server with these flags."""
        return Server(architecture=self.architecture, quantization=self.quantization, flags=flags)

    def rejected(self, role: Role, reason: Reason, wanted: int = 0, found: int = 0, detail: str = "") -> Rejection:
        """Return a rejection of this candidate."""
        return Rejection(
            role=role.name,
            model=self.model.name,
            repository=self.variant.repository,
            kv_cache_dtype=self.kv_cache_dtype,
            pool=self.place.name,
            tensor_parallel_size=self.layout.tensor_parallel_size,
            pipeline_parallel_size=self.layout.pipeline_parallel_size,
            data_parallel_size=self.layout.data_parallel_size,
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


def candidates(
    role: Role, where: Sequence[Place], named: Sequence[tuple[Model, Variant]] | None = None
) -> Iterator[Candidate | Rejection]:
    """Yield what can be sized, in every place the role may use, and what cannot, of all or of some ``named`` variants.

    Servers have one pipeline stage unless the role says otherwise.
    """
    profile = where[0].profile
    for model, variant in allowed(role) if named is None else named:
        try:
            architecture, quantization = served(model, variant, role.task)
        except (InvalidConfig, UnsupportedModel) as error:
            text = str(error).splitlines()[0].removeprefix(f"{variant.repository}: ")
            yield _refused(role, model, variant, "unsupported", text)
            continue
        if role.task == TRANSCRIPTION and architecture.name not in HEARING:
            text = f"vLLM does not serve {architecture.name} at /v1/audio/transcriptions, as far as is known here"
            yield _refused(role, model, variant, "unsupported", text)
            continue
        if role.settings:
            architecture = started(architecture, serve_flags(role.settings), profile, role.drafter)
        if needed := limits.engine_refusal(model, variant, profile):
            yield _refused(role, model, variant, "engine", needed)
            continue
        if not role.named and (lacking := limits.parser_refusal(model, role.task, profile)):
            yield _refused(role, model, variant, "capability", lacking)
            continue
        for place in where:
            if role.pools is None or place.name in role.pools:
                yield from _with_caches(role, place, (model, variant), (architecture, quantization))


def _with_caches(
    role: Role, place: Place, named: tuple[Model, Variant], made_of: tuple[Architecture, Quantization]
) -> Iterator[Candidate | Rejection]:
    first = Candidate(place, Layout(), *named, *made_of, kv_cache_dtype="auto")
    dtypes: tuple[str, ...] = limits.KV_CACHE_DTYPES
    if role.kv_cache_dtype:
        dtypes = (role.kv_cache_dtype,)
    elif first.effective_cache != "auto" or not _has_cache(first.architecture):
        dtypes = ("auto",)
    ways = list(layouts(role, place.nodes, *made_of, place.profile))
    for kv_cache_dtype in dtypes:
        one = replace(first, kv_cache_dtype=kv_cache_dtype)
        if text := limits.cache_refusal(one.effective_cache, one.model, one.architecture, place.gpu, place.profile):
            yield one.rejected(role, "capability", detail=text)
            continue
        for layout in ways:
            yield _split(role, replace(one, layout=layout))


def _split(role: Role, candidate: Candidate) -> Candidate | Rejection:
    """Return a candidate that is split over GPUs of its place, or why the engine cannot start it there."""
    needed = limits.layout_refusal(candidate.layout, candidate.nodes, candidate.architecture, candidate.place.profile)
    return candidate.rejected(role, "capability", detail=needed) if needed else candidate


def _has_cache(architecture: Architecture) -> bool:
    return any(layer.attention and layer.attention.cached for layer in architecture.layers)


def _refused(role: Role, model: Model, variant: Variant, reason: Reason, detail: str) -> Rejection:
    return Rejection(role=role.name, model=model.name, repository=variant.repository, reason=reason, detail=detail)
