"""Server: one vLLM server that somebody's files start, as far as they say."""

import re
from typing import Any

from msgspec import Struct, field

UNEXPANDED = re.compile(r"\$\{[^{}]*\}|\$\(+[^()]*\)+|\{\{.*?\}\}|%\w+%|%[iI]\b|<[A-Za-z][\w -]*>")
"""Names and expressions that nobody has filled in.

``${NAME}``, ``$(command)``, ``{{ expression }}``, ``%NAME%``, ``<name>``, and ``%i`` of systemd's templates.
"""


class Server(Struct, frozen=True, kw_only=True):
    """A server: its name in the file, the model's word as the engine gets it, its flags and surroundings.

    ``flags`` have long names with dashes and values as the engine's parser holds them; ``unknown_flags`` are those that
    the engine version does not have. ``gpus`` is how many GPUs it may use, on all of its ``nodes`` together.
    """

    name: str
    model: str
    flags: dict[str, Any]
    unknown_flags: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    engine_version: str | None = None
    gpus: int | None = None
    gpu_ids: tuple[str, ...] = ()
    gpu_name: str = ""
    nodes: int = 1
    replicas: int = 1
    file: str = ""
    line: int = 0
    after: tuple[str, ...] = ()

    @property
    def unexpanded(self) -> tuple[str, ...]:
        """What only the running platform fills in, as it stands in the model and the flags, each once."""
        return tuple(dict.fromkeys(UNEXPANDED.findall(f"{self.model}\n{self.flags}")))


class Other(Struct, frozen=True):
    """Something a file starts that is no vLLM server: its name, and which engine it seems to be."""

    name: str
    engine: str
