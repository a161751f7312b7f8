"""Fleets for tests, written as a user writes them and read with the shipped catalog."""

import copy
import functools
import tempfile
from pathlib import Path
from typing import Any

import yaml

from planner.catalog import Catalog, load_catalog
from planner.fleet import Fleet, load_fleet

PAIR: dict[str, Any] = {
    "name": "pair",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "gpu": {"name": "rtx-pro-6000-blackwell"},
    "roles": {
        "coder": {
            "task": "code",
            "models": ["deepseek-coder-33b-instruct"],
            "context": {"min": "8k", "wish": "16k"},
            "concurrency": {"min": 4, "target": 16},
            "request": {"prompt_tokens": "6k", "output_tokens": "1k"},
            "weight": 2,
        },
        "general": {
            "task": "general",
            "models": ["mistral-7b-instruct-v0.3"],
            "context": {"min": "8k", "wish": "32k"},
            "concurrency": {"min": 4, "target": 24},
            "request": {"prompt_tokens": "3k", "output_tokens": "1k"},
        },
    },
}
"""Two roles that fit one 96 GB card with room for choices."""


@functools.cache
def catalog() -> Catalog:
    return load_catalog()


def fleet(document: dict[str, Any]) -> Fleet:
    """Read a fleet from what its file would hold."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        return load_fleet(path, catalog())


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:  # noqa: ANN401 - any YAML value
    """Return a copy of a document with the value at a dotted path set, or the key removed when it is None."""
    keys = path.split(".")
    made = copy.deepcopy(document)
    here = made
    for key in keys[:-1]:
        if not isinstance(here.get(key), dict):
            here[key] = {} if here.get(key) is None else {"min": here[key]}
        here = here[key]
    if value is None:
        here.pop(keys[-1], None)
    else:
        here[keys[-1]] = value
    return made
