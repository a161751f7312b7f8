"""Check catalog folders: the shape of every file, and that what the files say fits together."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from planner.catalog import model_entry, yaml_files
from planner.catalog.checked import shape_problems
from planner.catalog.names import nearest
from planner.config_json import parse_config
from planner.errors import InputError, InvalidConfig, Problem, UnsupportedModel
from planner.yaml_source import FieldPath, Source, read_yaml

_ROOMS = ("models", "gpus", "prices", "accuracy", "speed")
_FILES = ("schemes", "publishers")
"""What is one file, not a folder of them."""


class Report(Struct, frozen=True):
    """What a check found: ``problems`` to mend, and checkpoints that are listed but cannot be planned, with why."""

    problems: list[Problem] = field(default_factory=list)
    unsized: list[tuple[str, str]] = field(default_factory=list)
    file_count: int = 0
    model_count: int = 0
    checkpoint_count: int = 0
    gpu_count: int = 0


def check_folders(folders: Iterable[Path]) -> Report:
    """Check every file of some catalog folders, taken together."""
    files = dict(_sources(folders))
    readable, problems = _readable(files)
    known = _Known({name: entry for source in readable["schemes"] for name, entry in source.data["schemes"].items()})
    unsized: list[tuple[str, str]] = []
    for source in readable["models"]:
        problems += known.family_problems(source)
        if not any(problem.file == source.file for problem in problems):
            problems += _size_problems(source, known.schemes, unsized)
    for source in readable["accuracy"]:
        known.scales.update(source.data.get("scales", {}))
    checks = {
        "gpus": known.gpu_problems,
        "prices": known.price_problems,
        "accuracy": known.accuracy_problems,
        "speed": known.speed_problems,
        "faults": _fault_problems,
    }
    problems += [problem for room, check in checks.items() for source in readable[room] for problem in check(source)]
    return Report(
        problems=sorted(problems),
        unsized=unsized,
        file_count=len(files),
        model_count=known.model_count,
        checkpoint_count=len(known.repositories),
        gpu_count=len(known.gpus),
    )


def _readable(files: Mapping[Path, str]) -> tuple[dict[str, list[Source]], list[Problem]]:
    """Return the files of each room that have its shape, and what is wrong with the others."""
    readable: dict[str, list[Source]] = {room: [] for room in (*_ROOMS, *_FILES, "faults")}
    problems: list[Problem] = []
    for path, room in files.items():
        try:
            source = read_yaml(path)
        except InputError as error:
            problems += error.problems
            continue
        found = shape_problems(source, room)
        problems += found
        if not found:
            readable[room].append(source)
    return readable, problems


def _fault_problems(source: Source) -> Iterator[Problem]:
    """Yield the faults that are listed twice."""
    met: set[str] = set()
    for number, fault in enumerate(source.data["faults"]):
        if fault["id"] in met:
            yield source.problem(("faults", number, "id"), f"{fault['id']} is listed before")
        met.add(fault["id"])


def _sources(folders: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    for folder in folders:
        for name in _FILES:
            if (folder / f"{name}.yaml").is_file():
                yield folder / f"{name}.yaml", name
        if (folder / "engines" / "known-faults.yaml").is_file():
            yield folder / "engines" / "known-faults.yaml", "faults"
        for room in _ROOMS:
            yield from ((path, room) for path in yaml_files.in_folders((folder,), room))


class _Known:
    """Names met so far, so that a second use or an unknown one is noticed."""

    def __init__(self, schemes: dict[str, Any]) -> None:
        self.schemes = schemes
        self.scales: dict[str, Any] = {}
        self.repositories: dict[str, str] = {}
        self.bases: dict[str, str] = {}
        self.gpus: set[str] = set()
        self.model_count = 0

    def family_problems(self, source: Source) -> Iterator[Problem]:
        """Yield what is wrong between the entries of a family file."""
        for number, model in enumerate(source.data["models"]):
            here: FieldPath = ("models", number)
            self.model_count += 1
            self.bases[model["repository"].casefold()] = model["repository"]
            yield from self._entry_problems(source, here, model)
            for index, variant in enumerate(model.get("variants", ())):
                yield from self._entry_problems(source, (*here, "variants", index), variant)

    def _entry_problems(self, source: Source, here: FieldPath, entry: dict[str, Any]) -> Iterator[Problem]:
        for name in (entry["repository"], *entry.get("aliases", ())):
            if name.casefold() in self.repositories:
                yield source.problem((*here, "repository"), f"{name} is listed twice", "one entry per repository")
            self.repositories[name.casefold()] = name
        scheme = entry.get("scheme")
        if scheme and scheme not in self.schemes:
            yield source.problem((*here, "scheme"), f"unknown scheme {scheme!r}", _near(scheme, self.schemes))

    def gpu_problems(self, source: Source) -> Iterator[Problem]:
        """Yield what is wrong between the devices of a vendor file."""
        for number, gpu in enumerate(source.data["gpus"]):
            if gpu["name"] in self.gpus:
                yield source.problem(("gpus", number, "name"), f"{gpu['name']} is listed twice", "one entry per device")
            self.gpus.add(gpu["name"])
            driver = gpu["memory"].get("driver_mib")
            if driver and max(gpu["memory"]["torch_mib"]) > driver:
                where = ("gpus", number, "memory", "torch_mib")
                yield source.problem(where, f"more than the driver's {driver}", "torch sees what the driver leaves")

    def price_problems(self, source: Source) -> Iterator[Problem]:
        """Yield prices of providers or devices that are not listed."""
        for number, row in enumerate(source.data["instances"]):
            for key, known in (("provider", source.data["providers"]), ("gpu", self.gpus)):
                if row[key] not in known:
                    yield source.problem(
                        ("instances", number, key), f"unknown {key} {row[key]!r}", _near(row[key], known)
                    )

    def speed_problems(self, source: Source) -> Iterator[Problem]:
        """Yield speed constants of devices that are not listed."""
        for number, device in enumerate(source.data.get("devices", ())):
            for name in (device["gpu"], *device.get("also", ())):
                if name not in self.gpus:
                    here = ("devices", number, "gpu")
                    yield source.problem(here, f"unknown gpu {name!r}", _near(name, self.gpus))

    def accuracy_problems(self, source: Source) -> Iterator[Problem]:
        """Yield figures on unknown scales or about unknown models, and recoveries that contradict themselves."""
        for number, row in enumerate(source.data.get("scores", ())):
            yield from self._unknown_base(source, ("scores", number, "model"), row["model"])
            for scale in row["scores"]:
                if scale not in self.scales:
                    yield source.problem(
                        ("scores", number, "scores", scale), f"unknown scale {scale!r}", _near(scale, self.scales)
                    )
        for number, row in enumerate(source.data.get("transferred", ())):
            yield from self._unknown_base(source, ("transferred", number, "model"), row["model"])
        for number, row in enumerate(source.data.get("measured", ())):
            if row["checkpoint"].casefold() not in self.repositories:
                where = ("measured", number, "checkpoint")
                yield source.problem(
                    where, f"unknown checkpoint {row['checkpoint']!r}", _near(row["checkpoint"], self.repositories)
                )
        for number, row in enumerate(source.data.get("defaults", ())):
            if row["floor"] > row["median"]:
                yield source.problem(("defaults", number, "floor"), "above the median", "a floor is the worse figure")

    def _unknown_base(self, source: Source, where: FieldPath, name: str) -> Iterator[Problem]:
        if name.casefold() not in self.bases:
            yield source.problem(where, f"unknown model {name!r}", _near(name, self.bases.values()))


def _size_problems(source: Source, schemes: dict[str, Any], unsized: list[tuple[str, str]]) -> Iterator[Problem]:
    """Yield configs that contradict themselves; note those of a kind the memory model does not know."""
    for number, model in enumerate(model_entry.models_in(source.data, schemes, source.file)):
        for variant in model.variants:
            try:
                parse_config(model.config_for(variant), where=variant.repository)
            except UnsupportedModel as error:
                unsized.append((variant.repository, error.what))
            except InvalidConfig as error:
                yield source.problem(
                    ("models", number, "config"), f"{variant.repository}: {error.field} {error.message}"
                )


def _near(name: str, known: Iterable[str]) -> str:
    found = nearest(name, known)
    return f"did you mean {' or '.join(found)}?" if found else "no name in the catalog is close to it"
