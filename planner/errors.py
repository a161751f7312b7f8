"""Everything that can go wrong, as data; the text is derived from the data.

PlannerError                 the root; the command line maps each class to one exit code
├── InputError               a file the user wrote has problems (all of them, not the first)
│   └── NewerPlan            a plan.yaml that a newer planner wrote
├── UnknownName              a model, GPU, engine or scheme the catalog does not have
├── UnsupportedModel         an architecture or format the memory model cannot size
├── InvalidConfig            a config.json or checkpoint with missing or contradictory facts
├── SourceUnavailable        a repository that is absent, gated, busy or not reachable
├── CheckFailed              a plan the independent checker refuses
└── OutputError              the output folder cannot be written

"No plan exists" is a result (see ``planner.plan``), not an error.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct


class Problem(Struct, frozen=True, order=True):
    """One thing wrong in a file the user wrote: where it is, what it is, what would be right.

    ``line`` and ``column`` count from 1; 0 means the place is not known. ``path`` is the dotted field path, such as
    ``roles.coder.context``, or empty for the file as a whole. ``hint`` is something the reader can do, or empty.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: "
        field = f"{self.path}: " if self.path else ""
        hint = f"\n  hint: {self.hint}" if self.hint else ""
        return f"{place}{field}{self.message}{hint}"


class PlannerError(Exception):
    """The root of every error this package raises on purpose."""


class InputError(PlannerError):
    """A file the user wrote has one or more problems; they are reported together, in file order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class NewerPlan(InputError):
    """A plan.yaml whose schema is newer than this version reads; it is neither understood nor overwritten."""


class UnknownName(PlannerError):
    """A name that nothing carries, with the nearest ones that exist; of roles, which are few, with all.

    ``gguf`` says that the name is one of llama.cpp's files; the nearest are then the same weights in other formats.
    ``hub`` is why a look on the Hugging Face hub did not help.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        nearest: tuple[str, ...] = (),
        *,
        gguf: bool = False,
        hub: "SourceUnavailable | None" = None,
    ) -> None:
        self.kind, self.name, self.nearest, self.gguf, self.hub = kind, name, nearest, gguf, hub
        super().__init__(kind, name, nearest)

    @property
    def hint(self) -> str:
        """What the reader can do: take a near name, or look where all names are."""
        if self.kind == "engine version":
            oldest = f"; the oldest with a memory profile is {self.nearest[0]}" if self.nearest else ""
            return f"a version is written like 0.33.0{oldest}"
        if self.kind == "role":
            return f"the roles are {', '.join(self.nearest)}"
        if self.gguf:
            same = f"the same weights for vLLM are {', '.join(self.nearest)}"
            return f"that is a GGUF for llama.cpp; {same if self.nearest else 'name the checkpoint it was made from'}"
        if self.hub:
            near = f"; did you mean {' or '.join(self.nearest)}?" if self.nearest else ""
            return f"{self.hub.where}: {self.hub.reason}; {self.hub.hint}{near}"
        near = f"did you mean {' or '.join(self.nearest)}?"
        if not self.nearest:
            near = f"no name is close to it; `planner catalog list{' --gpus' * (self.kind == 'GPU')}` shows them all"
        if self.kind != "model":
            return near
        own = "`planner catalog add ID`, or a folder with its config.json"
        return f"{near}{';' * (not self.nearest)} a model of your own: {own}"

    def __str__(self) -> str:
        return f"unknown {self.kind} {self.name!r}\n  hint: {self.hint}"


class UnsupportedModel(PlannerError):
    """A model whose memory cannot be derived, so it is refused by name instead of guessed.

    ``where`` names the file or catalog entry, ``what`` the architecture, format or field that is not supported.
    """

    def __init__(self, where: str, what: str, hint: str = "") -> None:
        self.where, self.what, self.hint = where, what, hint
        super().__init__(where, what, hint)

    def __str__(self) -> str:
        return f"{self.where}: not supported: {self.what}" + (f"\n  hint: {self.hint}" if self.hint else "")


class InvalidConfig(PlannerError):
    """A model's config or checkpoint is missing a field, contradicts itself, or is not what it says it is."""

    def __init__(self, where: str, field: str, message: str) -> None:
        self.where, self.field, self.message = where, field, message
        super().__init__(where, field, message)

    def __str__(self) -> str:
        return f"{self.where}: {self.field}: {self.message}" if self.field else f"{self.where}: {self.message}"


class SourceUnavailable(PlannerError):
    """A repository that cannot be read now: absent, gated, rate-limited, or not reachable.

    With ``found`` it is there, but holds nothing that could be planned.
    """

    def __init__(self, where: str, reason: str, hint: str = "", *, found: bool = False) -> None:
        self.where, self.reason, self.hint, self.found = where, reason, hint, found
        super().__init__(where, reason, hint)

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}" + (f"\n  hint: {self.hint}" if self.hint else "")


class CheckFailed(PlannerError):
    """The independent checker found a plan that breaks its own promises; nothing is rendered from it."""

    def __init__(self, violations: tuple[str, ...]) -> None:
        self.violations = violations
        super().__init__(violations)

    def __str__(self) -> str:
        return "the plan fails its check:\n" + "\n".join(f"  {violation}" for violation in self.violations)


class OutputError(PlannerError):
    """A file or folder cannot be written, or what is there not be read; what was there before is untouched."""

    def __init__(self, path: str, reason: str, what: str = "write") -> None:
        self.path, self.reason, self.what = path, reason, what
        super().__init__(path, reason, what)

    def __str__(self) -> str:
        return f"cannot {self.what} {self.path}: {self.reason}"


@contextlib.contextmanager
def output_errors(path: Path, what: str = "write") -> Iterator[None]:
    """Turn what the system says of a file into an ``OutputError`` that names it, or ``path`` where it names none."""
    try:
        yield
    except OSError as error:
        raise OutputError(str(error.filename or path), (error.strerror or str(error)).lower(), what) from error
