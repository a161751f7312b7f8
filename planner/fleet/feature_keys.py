"""Keys of a role with maps of their own: adapters, speculative decoding, and what prompts may bring beside text."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from planner.engine.adapters import RANKS, Lora
from planner.engine.images import Images
from planner.engine.speculation import DRAFTED, LARGEST_TOKENS, METHODS, Speculation
from planner.fleet import values
from planner.fleet.findings import Findings
from planner.fleet.shapes import Map, choice, map_of, one_or_more, whole
from planner.yaml_source import FieldPath

_MAX_ADAPTERS = 256
_MAX_ITEMS = 999
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_AUTO, _OFF = "auto", "off"

_Texts = Annotated[
    tuple[Annotated[str, PlainValidator(values.text)], ...] | None,
    BeforeValidator(values.as_list),
    WithJsonSchema(one_or_more(values.TEXT_SCHEMA)),
]


def _rank(value: object) -> int:
    if isinstance(value, bool) or value not in RANKS:
        values.wrong(f"expected one of the ranks {', '.join(map(str, RANKS))}, not {values.found(value)}")
    return int(str(value))


def _repository(value: object) -> str:
    if not isinstance(value, str) or not _REPOSITORY.fullmatch(value):
        values.wrong(f"expected a Hugging Face id such as org/adapter, not {values.found(value)}")
    return value


class LoraMap(Map):
    """Adapters (LoRA) that the servers of a role keep beside their model."""

    required = ("adapters",)

    adapters: Annotated[int | None, *whole(1, _MAX_ADAPTERS, "a whole number of adapters")] = Field(
        default=None, description="how many are on the GPU at once, which one batch may use together"
    )
    rank: Annotated[int, PlainValidator(_rank), WithJsonSchema({"enum": list(RANKS)})] = Field(
        default=16, description="the largest rank of an adapter"
    )
    held: Annotated[int | None, *whole(1, 1 << 12, "a whole number of adapters")] = Field(
        default=None, description="how many are kept in host memory; absent: as many as there are names"
    )
    modules: _Texts = Field(
        default=None, description="the layers that adapters have, by their last names: q_proj; absent: all of them"
    )
    names: Annotated[
        dict[str, Annotated[str, PlainValidator(_repository), WithJsonSchema(values.TEXT_SCHEMA)]],
        map_of("the names of adapters"),
    ] = Field(default={}, description="adapters by the model name that clients ask for, each with its Hugging Face id")


class SpeculativeMap(Map):
    """Tokens that are drafted ahead and verified together."""

    required = ("method",)
    single: ClassVar[dict[str, Any]] = {"enum": [*METHODS, _AUTO, _OFF, False]}

    method: Annotated[str | None, *choice((*METHODS, _AUTO, _OFF), "method")] = Field(
        default=None, description="who drafts: the prompt (ngram), the model's own heads (mtp), or another model"
    )
    tokens: Annotated[int | None, *whole(1, LARGEST_TOKENS, "a whole number of tokens")] = Field(
        default=None, description="how many are drafted at a time; absent: 3, and 1 for mtp"
    )
    model: Annotated[str | None, PlainValidator(values.text), WithJsonSchema(values.TEXT_SCHEMA)] = Field(
        default=None, description="the model that drafts, for draft_model: a catalog name or a Hugging Face id"
    )


class ImagesMap(Map):
    """How many items of a kind one request may bring."""

    required = ("per_request",)
    per_request: Annotated[int | None, *whole(0, _MAX_ITEMS, "a whole number of images")] = Field(
        default=None, description="most images in one request"
    )
    videos: Annotated[int | None, *whole(0, _MAX_ITEMS, "a whole number of videos")] = Field(
        default=None, description="most videos in one request; absent: as many as the context holds"
    )


def lora(read: LoraMap | None) -> Lora | None:
    """Return the adapters that a role asks for."""
    if read is None or read.adapters is None:
        return None
    return Lora(
        adapters=read.adapters,
        rank=read.rank,
        held=read.held or max(read.adapters, len(read.names)),
        modules=tuple(read.modules or ()),
        names=tuple(sorted(read.names.items())),
    )


def speculation(read: SpeculativeMap | None) -> Speculation | None:
    """Return the speculation that a role asks for; none where it is off or left to the planner."""
    if read is None or read.method in (None, _AUTO, _OFF):
        return None
    return Speculation(
        method=str(read.method), tokens=read.tokens or (1 if read.method == "mtp" else 3), model=read.model or ""
    )


def left_to_the_planner(read: SpeculativeMap | None) -> bool:
    """Whether a role leaves it to the planner to speculate."""
    return read is not None and read.method == _AUTO


def images(read: ImagesMap | None) -> Images | None:
    """Return the limits of items that a role states."""
    if read is None or read.per_request is None:
        return None
    return Images(per_request=read.per_request, videos=read.videos)


def read_speculative(value: object) -> object:
    """Take a word or a map; YAML reads ``off`` as false."""
    if value is False:
        return {"method": _OFF}
    return {"method": value} if isinstance(value, str) else value


def check_features(
    findings: Findings, path: FieldPath, task: str | None, pooling: bool, read: Mapping[str, Any]
) -> None:
    """Refuse what contradicts itself or the role's task, whatever the model."""
    adapters: LoraMap | None = read["lora"]
    if adapters and adapters.held and adapters.adapters and adapters.held < adapters.adapters:
        message = f"{adapters.held} in host memory are fewer than {adapters.adapters} on the GPU"
        findings.refuse((*path, "lora", "held"), message, "an adapter on the GPU is in host memory too")
    wanted: SpeculativeMap | None = read["speculative"]
    if wanted and wanted.method not in (None, _OFF):
        where = (*path, "speculative")
        if pooling:
            findings.refuse(where, f"the task {task} generates no tokens", "leave the key out")
        elif task == "transcription":
            findings.refuse(
                where, "no server that writes down speech has been sized with a drafter", "leave the key out"
            )
        elif wanted.method in DRAFTED and not wanted.model:
            findings.refuse(where, f"{wanted.method} needs the model that drafts", "state it: model: org/drafter")
        elif wanted.model and wanted.method not in DRAFTED:
            findings.refuse((*where, "model"), f"{wanted.method} drafts without a model of its own", "leave it out")
    limits: ImagesMap | None = read["images"]
    if limits and task == "transcription":
        findings.refuse((*path, "images"), "the task transcription takes sound alone", "leave the key out")
    if limits and limits.per_request == 0 and task == "vision":
        findings.refuse((*path, "images"), "the task vision is about images", "allow at least one")
    if read["language_model_only"] and (task == "vision" or (limits and limits.per_request)):
        message = "without its encoder a model takes no images"
        findings.refuse((*path, "language_model_only"), message, "leave the key out")
