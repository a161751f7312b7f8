"""Launch -> Server: the engine's version from its image, its flags, and those that stand in a configuration file."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml
from msgspec.structs import replace

from planner.adopt.arguments import known, read_arguments, typed
from planner.adopt.launch import Launch, gpu_ids
from planner.adopt.server import Server
from planner.adopt.templates import show
from planner.engine.options import EngineOptions, options_around
from planner.engine.versions import parse_version
from planner.errors import UnknownName

Read = Callable[[str], str | None]
"""Returns the text of a file that is at hand, by the end of its path."""
_VERSION = re.compile(r"[:/_-]v?(0\.\d+(?:\.\d+){0,2}(?:\.?(?:post|rc)\d+)?)(?![\d.])")
_FALSE = "0.28.0"
"""The first version of the engine whose API server's module heeds what is false in a configuration file."""
_PINNED = re.compile(r"\bvllm(?:\[[\w,-]*\])?\s*==\s*(0\.\d+(?:\.\d+){0,2}(?:\.?(?:post|rc)\d+)?)")


def server(
    launch: Launch, name: str, file: str, read: Callable[[str], str | None], version: str | None = None
) -> Server:
    """Return the server of one start.

    ``version`` is the engine's where the image does not say it; without either the newest one's flags are known.
    """
    launch = replace(launch, words=show(launch.words), environment=show(launch.environment), image=show(launch.image))
    stated = image_version(launch.image) or version
    around = _options(stated)
    options = around[0]
    given = read_arguments(launch.words, options)
    model, flags, unknown = given.model, given.flags, list(given.unknown)
    if given.config:
        name = name or stem(given.config)
        heeds = launch.module and parse_version(options.version) >= parse_version(_FALSE)
        inner = _from_config(read(given.config), options, heeds=heeds)
        flags = {**inner, **flags}
        model = model or str(flags.pop("model", "") or "")
        unknown += [flag for flag in inner if flag != "model" and not known(flag, options)]
    flags.pop("model", None)
    visible = launch.environment.get("CUDA_VISIBLE_DEVICES", "")
    ids = launch.gpu_ids or gpu_ids(visible)
    return Server(
        name=show(name or launch.name),
        model=model or launch.environment.get("VLLM_MODEL", ""),
        flags=flags,
        unknown_flags=tuple(dict.fromkeys(flag for flag in unknown if not any(known(flag, one) for one in around))),
        environment=launch.environment,
        engine_version=stated,
        gpus=len(ids) or launch.gpus,
        gpu_ids=ids,
        file=file,
        line=launch.line,
    )


def is_config(document: Mapping[str, Any]) -> bool:
    """Whether a map has the engine's options for keys, most of them at least."""
    names = [str(key).replace("_", "-") for key in document]
    every = options_around(None)
    strange = sum(name != "model" and not any(known(name, one) for one in every) for name in names)
    return 2 * strange < len(names)


def image_version(image: str) -> str | None:
    """Return the engine's version that an image's tag names."""
    found = _VERSION.search(image.split("@")[0])
    return found[1] if found and "vllm" in image else None


def pinned_version(text: str) -> str | None:
    """Return the engine's version that a file installs (``vllm==0.11.0``), where it is one."""
    found = set(_PINNED.findall(text))
    return found.pop() if len(found) == 1 else None


def stem(path: str) -> str:
    """Return the last part of a path without its ending."""
    return re.sub(r"\.\w+$", "", path.rstrip("/").rsplit("/", 1)[-1])


def _options(version: str | None) -> tuple[EngineOptions, ...]:
    """Return the options of a version, or the lists around it; all of them where it is not stated, the newest first."""
    try:
        return options_around(version)
    except UnknownName:
        return options_around(None)


def _from_config(text: str | None, options: EngineOptions, *, heeds: bool) -> dict[str, Any]:
    """Return the flags of a ``--config`` file, to which the engine prefers its command line.

    What is false there it leaves out, but where the parser that reads the file knows the switch: that of ``vllm serve``
    is the parser of all commands and knows none, that of the module ``heeds`` it.

    Source: ``load_config_file`` in vllm/utils/argparse_utils.py, 0.33.0.
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
    heeded = {key for key, value in named.items() if value is not False or (heeds and known(key, options))}
    stated = {key: value for key, value in named.items() if key in heeded and value is not None}
    return dict(_held(key, value, options) for key, value in stated.items())


def _held(key: str, value: Any, options: EngineOptions) -> tuple[str, Any]:  # noqa: ANN401 - any value of a file
    """Return a flag and its value; ``no-x: true`` is the switch x, off."""
    if key.startswith("no-") and value is True and not known(key, options):
        return key.removeprefix("no-"), False
    return key, typed(key, value, options)
