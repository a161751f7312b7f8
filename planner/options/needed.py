"""Needed: which checkpoints of a role have options that a best plan may need, remembered between runs.

A role that names no models has hundreds of checkpoints, of which tens are needed. Only their names are kept, under a
digest of everything that decides which they are: the role, its places, the objective, the catalog and the planner
itself. All that is said of them, to the byte, is worked out anew, so what is remembered saves looking at the others.
"""

import functools
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from planner import cache
from planner.catalog import Catalog
from planner.facts.variant import Model
from planner.fleet import Role
from planner.options.candidates import allowed
from planner.options.place import Place
from planner.resources import data_folder
from planner.tensors.identity import Same

FEW = 32
"""Checkpoints that are looked at each time: remembering would take as long."""


class Needed(Struct, frozen=True):
    """What is needed of a role, by the position of a pool and the repository of a checkpoint.

    ``faulty`` says that something was left out for a known fault of the engine. ``served`` has pools with the fewest
    pipeline stages with which a checkpoint fits, needed or not; None where that is not known. ``looks`` are those that
    finding it out took, which count as taken wherever it is remembered.
    """

    named: frozenset[tuple[int, str]]
    faulty: bool
    served: tuple[tuple[int, int], ...] | None = None
    looks: int = 0

    @classmethod
    def read(cls, kept: Any) -> "Needed":  # noqa: ANN401 - plain JSON data
        """Return what was ``written``."""
        named = frozenset((pool, repository) for pool, repository in kept["needed"])
        served = tuple((pool, stages) for pool, stages in kept["served"])
        return cls(named, kept["faulty"], served, kept["looks"])

    def written(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {
            "needed": sorted(map(list, self.named)),
            "faulty": self.faulty,
            "served": [*map(list, self.served or ())],
            "looks": self.looks,
        }


def question(
    role: Role, where: Sequence[Place], catalog: Catalog, names: tuple[str, ...] | None, **further: bool
) -> str:
    """Return a digest of everything that decides what is needed; empty where it is not worth remembering."""
    if len(allowed(role)) <= FEW:
        return ""
    return _hashed([_facts(role), where, names, further, _data(Same(catalog)), _planner()])


def question_of_all(
    roles: Sequence[Role], where: Sequence[Place], catalog: Catalog, names: tuple[str, ...], **further: int
) -> str:
    """Return a digest of everything that decides what is needed of all roles together."""
    return _hashed([[_facts(role) for role in roles], where, names, further, _data(Same(catalog)), _planner()])


def _facts(role: Role) -> list[Any]:
    models = [[_digest(Same(model)), [variant.repository for variant in model.variants]] for model in role.models]
    return [replace(role, models=()), models]


def recall(asked: str) -> Needed | None:
    """Return the answer to a question that was kept, or None."""
    found = cache.recall(_place(asked), asked) if asked else None
    return None if found is None else Needed.read(found)


def keep(asked: str, answer: Needed) -> None:
    """Keep the answer to a question, in place of one of those before."""
    if asked:
        cache.keep(_place(asked), asked, answer.written())


def _place(asked: str) -> str:
    """Return one of 256 places, so that what is kept stays little however many questions there are."""
    return f"needed-{asked[:2]}"


@functools.lru_cache(maxsize=4096)
def _digest(model: Same[Model]) -> str:
    return _hashed(model.value)


@functools.lru_cache(maxsize=16)
def _data(catalog: Same[Catalog]) -> str:
    """Return a digest of the data files that a catalog reads besides the shipped ones."""
    return _files(folder for folder in dict.fromkeys(catalog.value.folders) if folder != data_folder("catalog"))


@functools.cache
def _planner() -> str:
    """Return a digest of the planner's own files and of what it ships about engines."""
    return _files((Path(__file__).resolve().parents[1], data_folder("catalog")))


def _files(folders: Iterable[Path]) -> str:
    """Return a digest of the data files and modules in some folders."""
    found = hashlib.sha256()
    for folder in folders:
        for inner, _, names in sorted(os.walk(folder)):
            found.update(f"{os.path.relpath(inner, folder)}\0".encode())
            for name in sorted(name for name in names if name.endswith((".py", ".yaml", ".json"))):
                with open(f"{inner}/{name}", "rb") as file:  # noqa: PTH123 - a path for each takes half of the time
                    content = file.read()
                found.update(f"{name}\0{len(content)}\0".encode())
                found.update(content)
    return found.hexdigest()


def _hashed(facts: object) -> str:
    return hashlib.sha256(msgspec.json.encode(facts, order="deterministic", enc_hook=dict)).hexdigest()
