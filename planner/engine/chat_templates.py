"""Chat templates that a server must be given: those of models whose own repository has another one."""

import functools
import json
from pathlib import Path
from typing import Any

from planner.engine.data_file import read_data_file
from planner.engine.versions import parse_version
from planner.resources import data_folder

_PARTS = frozenset({"templates"})


def chat_template(hf_overrides: str, version: str, directory: Path | None = None) -> str:
    r"""Return the template that a model of these overrides needs in an engine version, nothing for most.

    It is one line: the engine reads ``\n`` in an option that is no file as the end of a line
    (``load_chat_template`` in ``entrypoints/chat_utils.py`` 0.17.0, ``renderers/chat_utils`` 0.33.0).

    Raises:
        InvalidConfig: the data file cannot be read.
    """
    if not hf_overrides:
        return ""
    told: dict[str, Any] = json.loads(hf_overrides)
    for entry in _templates(directory or data_folder("catalog")):
        if told.get(entry["override"]) and parse_version(version) >= parse_version(entry["since"]):
            return "\\n".join(entry["lines"])
    return ""


@functools.cache
def _templates(directory: Path) -> tuple[dict[str, Any], ...]:
    return tuple(read_data_file(directory / "engines" / "chat-templates.yaml", _PARTS)["templates"])
