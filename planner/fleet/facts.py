"""Fleet and Role: what has to be served and on what, as frozen facts with every default filled in."""

from dataclasses import dataclass

from planner.gpu import GPU
from planner.variant import Model, Variant

ROUTER_PORT = 8000
"""Where clients find all roles at once; no role may have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Accuracy of one model or variant as the user states it; both figures in hundredths of a percent.

    ``name`` is the Hugging Face id of the checkpoint, which for a base model is that of its own repository.
    """

    name: str
    score: int | None
    recovery: int | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One job, served by one model under the role's name.

    ``models`` are the candidates in order of their names, each with the variants that may be chosen when the file
    names variants of its own; ``schemes`` and ``variant`` are pins on top, None when everything is allowed.
    ``kv_cache_dtype`` is ``auto``, ``fp8`` or None, which leaves it to the planner. A request has ``prompt_tokens``
    and ``output_tokens``; both are None when concurrency counts at full context. Floors are in hundredths of a
    percent, None when there is none.
    """

    name: str
    task: str
    models: tuple[Model, ...]
    context_min: int
    context_wish: int
    concurrency_min: int
    concurrency_target: int
    prompt_tokens: int | None
    output_tokens: int | None
    recovery_floor: int | None
    score_floor: int | None
    weight: int
    variant: str | None
    schemes: tuple[str, ...] | None
    kv_cache_dtype: str | None
    port: int
    trust_remote_code: bool
    figures: tuple[Figure, ...] = ()

    @property
    def request_tokens(self) -> int | None:
        """Tokens of one request at which concurrency counts; None means the chosen context."""
        if self.prompt_tokens is None:
            return None
        return self.prompt_tokens + (self.output_tokens or 0)

    def allows(self, variant: Variant) -> bool:
        """Whether the role's pins leave this variant."""
        return (self.variant is None or self.variant == variant.repository) and (
            self.schemes is None or variant.scheme in self.schemes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Roles to be served on ``gpu_count`` GPUs of one kind, whose device numbers begin at ``gpu_index``.

    ``engine_version`` is None for the newest release with a memory profile. ``memory_in_use_bytes`` is held by others
    on each GPU. ``objective`` lists what to maximise, each before the next. ``roles`` are in order of their names, so
    that the order of the file decides nothing.
    """

    name: str
    engine: str
    engine_version: str | None
    gpu: GPU
    gpu_count: int
    gpu_index: int
    memory_in_use_bytes: int
    objective: tuple[str, ...]
    roles: tuple[Role, ...]

    def role(self, name: str) -> Role:
        """Return the role of this name.

        Raises:
            KeyError: the fleet has no such role.
        """
        return {role.name: role for role in self.roles}[name]
