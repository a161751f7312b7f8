"""Launch -> Server: the engine's version from its image, its flags, and those that stand in a configuration file."""

import re
from collections.abc import Callable
from typing import Any

import yaml

from planner.adopt.arguments import known, read_arguments, typed
from planner.adopt.launch import Launch, gpu_ids
from planner.adopt.server import Server
from planner.engine.options import EngineOptions, engine_options
from planner.engine.profile import load_profile
from planner.errors import UnknownName

Read = Callable[[str], str | None]
"""Returns the text of a file that is at hand, by the end of its path."""
_VERSION = re.compile(r"[:/-]v?(\d+\.\d+(?:\.\d+){0,2})(?:[^\d.]|$)")


def server(
    launch: Launch, name: str, file: str, read: Callable[[str], str | None], version: str | None = None
) -> Server:
    """Return the server of one start.

    ``version`` is the engine's where the image does not say it; without either the newest one's flags are known.
    """
    stated = image_version(launch.image) or version
    options = _options(stated)
    given = read_arguments(launch.words, options)
    model, flags, unknown = given.model, given.flags, list(given.unknown)
    if given.config:
        name = name or stem(given.config)
        inner = _from_config(read(given.config), options)
        flags = {**inner, **flags}
        model = model or str(flags.pop("model", "") or "")
        unknown += [flag for flag in inner if flag != "model" and not known(flag, options)]
    flags.pop("model", None)
    visible = launch.environment.get("CUDA_VISIBLE_DEVICES", "")
    ids = launch.gpu_ids or gpu_ids(visible)
    return Server(
        name=name or launch.name,
        model=model or launch.environment.get("VLLM_MODEL", ""),
        flags=flags,
        unknown_flags=tuple(dict.fromkeys(unknown)),
        environment=launch.environment,
        engine_version=stated,
        gpus=len(ids) or launch.gpus,
        gpu_ids=ids,
        file=file,
        line=launch.line,
    )


def image_version(image: str) -> str | None:
    """Return the engine's version that an image's tag names."""
    found = _VERSION.search(image.split("@")[0])
    return found[1] if found and "vllm" in image else None


def stem(path: str) -> str:
    """Return the last part of a path without its ending."""
    return re.sub(r"\.\w+$", "", path.rstrip("/").rsplit("/", 1)[-1])


def _options(version: str | None) -> EngineOptions:
    """Return the options of a version; of the newest one where it is not stated, or its words are no version."""
    newest = load_profile().version
    try:
        return engine_options(version or newest)
    except UnknownName:
        return engine_options(newest)


def _from_config(text: str | None, options: EngineOptions) -> dict[str, Any]:
    """Return the flags of a ``--config`` file; the engine leaves out what is false there, and prefers its command line.

    Source: ``load_config_file`` in vllm/utils/argparse_utils.py, 0.32.0.
    """
    if text is None:
        return {}
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
    if not isinstance(data, dict):
        return {}
    named = {str(key).replace("_", "-"): value for key, value in data.items()}
    return {key: typed(key, value, options) for key, value in named.items() if value is not False and value is not None}
