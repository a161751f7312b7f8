"""Models that the catalog does not list: looked up on the Hugging Face hub once, then kept with their commit.

What is kept is a catalog entry like one that ``planner catalog add`` writes, one file for each repository and hub, in
the user's cache. The next run reads that file and asks nobody, so it plans the same checkpoint at the same commit.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.catalog.foreign_names import REPOSITORY
from planner.catalog.own_entry import entry_text, own_entry
from planner.errors import InputError, InvalidConfig, SourceUnavailable, UnsupportedModel
from planner.resources import user_cache

_MADE_BY = "planner, looking up a model"
_TASKS = {
    "text-generation": ("general",),
    "image-text-to-text": ("general", "vision"),
    "feature-extraction": ("embedding",),
    "sentence-similarity": ("embedding",),
    "text-ranking": ("rerank",),
    "automatic-speech-recognition": ("transcription",),
}
"""The hub's name of what a model is for -> tasks of ours; others follow from the architecture."""
_NOT_SERVED = frozenset(
    {
        "text-to-image", "image-to-image", "text-to-video", "image-to-video", "text-to-speech", "text-to-audio",
        "audio-to-audio", "image-classification", "object-detection", "image-segmentation", "depth-estimation",
        "zero-shot-image-classification", "audio-classification", "time-series-forecasting", "text-to-3d",
        "image-to-3d", "unconditional-image-generation", "reinforcement-learning", "robotics",
    }
)  # fmt: skip
"""The hub's names of what no server of ours is for."""
_NOT_PLANNED = "plans are for models that read text, images or sound and write text, vectors or scores"
_LICENCE = re.compile(r"license:([\w.+-]+)")
_HUB = "https://huggingface.co"


def looked_up(repository: str, *, offline: bool) -> Path:
    """Return the file that holds the entry of a repository, after a look on the hub where there is none yet.

    With ``offline``, or HF_HUB_OFFLINE, only files that the library's own cache has are read.

    Raises:
        SourceUnavailable: the repository cannot be read.
        UnsupportedModel: its architecture, quantization or file format cannot be sized.
        InvalidConfig: it is broken or lies.
    """
    path = _kept_in(repository)
    if not path.is_file() or not _readable(path):
        from planner.catalog.hub import metadata_folder  # the library takes a while to load

        with metadata_folder(repository, offline=offline) as found:
            text = entry_text(hub_entry(repository, found), _MADE_BY)
        _keep(path, text)
    return path


def hub_entry(
    repository: str,
    found: tuple[Path, str, Mapping[str, Any]],
    tasks: tuple[str, ...] = (),
    licence: str = "",
) -> dict[str, Any]:
    """Return the entry of a repository from its metadata, its commit and the hub's card of it.

    ``tasks`` and ``licence`` are the card's where they are not given.

    Raises:
        UnsupportedModel: its architecture, quantization or file format cannot be sized.
        InvalidConfig: it is broken or lies.
    """
    folder, commit, card = found
    tags = [tag for tag in card.get("tags") or () if isinstance(tag, str)] if isinstance(card.get("tags"), list) else []
    stated = next((match[1] for tag in tags if (match := _LICENCE.fullmatch(tag))), "unknown")
    base = next((tag.rpartition(":")[2] for tag in tags if tag.startswith("base_model:quantized:")), "")
    task = card.get("pipeline_tag")
    tasks = tasks or _TASKS.get(task if isinstance(task, str) else "", ())
    origin = f"config.json and file headers of {_endpoint().partition('://')[2]}/{repository}"
    origin += f" at {commit}" if commit else ""
    base = base if REPOSITORY.fullmatch(base) else ""
    try:
        return own_entry(folder, repository, origin, commit=commit, base=base, tasks=tasks, licence=licence or stated)
    except InvalidConfig as error:
        where = error.where.replace(str(folder), f"hf://{repository}")
        if error.field == "architectures" and task in _NOT_SERVED:
            raise UnsupportedModel(where, f"a model for {task}", _NOT_PLANNED) from None
        raise InvalidConfig(where, error.field, error.message) from None
    except UnsupportedModel as error:
        hint = f"the hub lists it for {task}; {_NOT_PLANNED}" if task in _NOT_SERVED else _own_code(folder)
        where = error.where.replace(str(folder), f"hf://{repository}")
        raise UnsupportedModel(where, error.what, error.hint or hint) from None


def _own_code(folder: Path) -> str:
    """Return what to know of a model whose class comes with the repository, or nothing."""
    with_code = "auto_map" in (folder / "config.json").read_text(encoding="utf-8", errors="replace")
    return "its class comes as code with the repository; docs/model-classes.md lists what is sized" if with_code else ""


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or _HUB


def _kept_in(repository: str) -> Path:
    """Return the file of a repository; what different hubs say under one name is kept apart."""
    hub = _endpoint()
    folder = "hub" if hub == _HUB else f"hub-{hashlib.sha256(hub.encode()).hexdigest()[:12]}"
    return user_cache() / folder / f"{repository.replace('/', '--')}.yaml"


def _readable(path: Path) -> bool:
    """Whether a kept file is whole; one that somebody cut or changed is looked up again."""
    from planner.catalog.checked import read_checked

    try:
        read_checked(path, "models")
    except InputError:
        return False
    return True


def _keep(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        reason = f"what was looked up cannot be kept in {path.parent}: {error.strerror}"
        raise SourceUnavailable(
            f"hf://{path.stem}", reason, "set PLANNER_CACHE to a folder that can be written"
        ) from None
