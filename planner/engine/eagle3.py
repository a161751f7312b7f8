"""Which model classes hand their hidden states over to an EAGLE-3 head, by engine version."""

import functools
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from planner.engine.adapters import since
from planner.engine.data_file import read_data_file
from planner.engine.versions import parse_version
from planner.errors import InvalidConfig
from planner.resources import data_folder


class _Given(Struct, frozen=True, kw_only=True):
    """The first version in which each class does.

    ``model_types`` are per version since words one of which a model type must hold; none: it may be any.
    """

    classes: Mapping[str, str]
    model_types: Mapping[str, tuple[str, ...]]


def gives_states(version: str, name: str, model_type: str, directory: Path | None = None) -> bool:
    """Whether an engine version hands over the hidden states of a class.

    Raises:
        InvalidConfig: the data file is broken.
    """
    given = _given(directory or data_folder("catalog"))
    eras = [era for era in given.model_types if parse_version(era) <= parse_version(version)]
    words = given.model_types[max(eras, key=parse_version)] if eras else ()
    named = not words or any(word in model_type for word in words)
    return since(version, given.classes, name) and named


@functools.cache
def _given(directory: Path) -> _Given:
    path = directory / "engines" / "eagle3.yaml"
    stated = read_data_file(path, frozenset({"classes", "model_types"}))
    try:
        return _Given(
            classes={name: version for version, names in stated["classes"].items() for name in names},
            model_types={version: tuple(words) for version, words in stated["model_types"].items()},
        )
    except (TypeError, AttributeError) as error:
        raise InvalidConfig(str(path), "", f"is not what it should be: {error}") from error
