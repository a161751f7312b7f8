"""Catalog: look up GPUs, models and checkpoints by any name people use for them."""

import copy
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from planner.catalog import gpu_entry, model_entry, yaml_files
from planner.catalog.names import nearest, plain, words_left_out
from planner.errors import SourceUnavailable, UnknownName
from planner.facts.gpu import GPU, CloudPrice
from planner.facts.paced import Paced
from planner.facts.seen import Seen
from planner.facts.variant import Model, Variant
from planner.resources import data_folder, user_catalog

if TYPE_CHECKING:
    from planner.catalog.accuracy_tables import AccuracyTables
    from planner.catalog.load_tests import LoadTest
    from planner.catalog.measured import Measured
    from planner.catalog.speed_tables import SpeedTables

_SLIP = 0.85
"""How alike two names of instances must be for one to be a slip of the other: those of one provider are all alike."""


def load_catalog(directory: Path | None = None, overlays: Iterable[Path] = (), *, offline: bool = False) -> "Catalog":
    """Open the shipped catalog, or the one in ``directory``, with the user's entries and overlay folders on top.

    An overlay has the same layout; an entry of a later overlay replaces one of the same name before it. A Hugging Face
    id that none of them lists is looked up on the hub, unless ``offline``.
    """
    shipped = (data_folder("catalog"),) if directory is None else ()
    overlays = (user_catalog(), *overlays)
    return Catalog((*shipped, *((directory,) if directory else ()), *overlays), trusted=shipped, offline=offline)


class Catalog:
    """Everything the catalog folders hold, read when it is first asked for.

    Files of ``trusted`` folders are taken as they are, for speed; all others are checked as they are read.
    """

    def __init__(self, folders: tuple[Path, ...], trusted: tuple[Path, ...] = (), *, offline: bool = False) -> None:
        self.folders = folders
        self._trusted = trusted
        self._offline = offline
        self._families: dict[Path, tuple[Model, ...]] = {}
        self._names: dict[Path, dict[str, list[tuple[Model, Variant]]]] = {}
        self._texts: dict[Path, str] = {}
        self._seen: dict[str, tuple[Seen, ...]] = {}
        self._paced: dict[str, tuple[Paced, ...]] = {}
        self._silent: SourceUnavailable | None = None

    @cached_property
    def gpus(self) -> tuple[GPU, ...]:
        """All devices, MIG instances included, in file order."""
        found: dict[str, GPU] = {}
        for path in yaml_files.in_folders(self.folders, "gpus"):
            found.update((gpu.name, gpu) for gpu in gpu_entry.gpus_in(self.read(path, "gpus")))
        return tuple(found.values())

    @cached_property
    def models(self) -> tuple[Model, ...]:
        """All models, in file order; reads every family file."""
        found: dict[str, Model] = {}
        for path in self._model_files:
            found.update((model.repository, model) for model in self._family(path))
        return tuple(found.values())

    @cached_property
    def measured(self) -> "tuple[Measured, ...]":
        """All start-ups of the user's own, each log once, in file order."""
        paths = yaml_files.in_folders(self.folders, "measured")
        if not paths:
            return ()
        from planner.catalog.measured import measured_in

        starts = [start for path in paths for start in measured_in(self.read(path, "measured"))]
        return tuple({(start.source, start.model): start for start in starts}.values())

    @cached_property
    def load_tests(self) -> "tuple[LoadTest, ...]":
        """All load tests of the user's own, each result once, in file order."""
        paths = yaml_files.in_folders(self.folders, "measured")
        if not paths:
            return ()
        from planner.catalog.load_tests import load_tests_in

        tests = [test for path in paths for test in load_tests_in(self.read(path, "measured"))]
        return tuple({(test.source, test.model): test for test in tests}.values())

    @cached_property
    def prices(self) -> tuple[CloudPrice, ...]:
        """All cloud list prices."""
        paths = yaml_files.in_folders(self.folders, "prices")
        return tuple(price for path in paths for price in gpu_entry.prices_in(self.read(path, "prices")))

    def instance(self, name: str) -> CloudPrice | None:
        """Return the instance with this name, or provider and name, on demand where it is offered like that."""
        wanted = name.casefold()
        found = [
            one
            for one in self.prices
            if wanted in (one.instance.casefold(), f"{one.provider} {one.instance}".casefold())
        ]
        return min(found, key=lambda one: (one.market != "on-demand", one.microdollars_per_hour), default=None)

    def near_instances(self, name: str) -> tuple[str, ...]:
        """Return the instances that ``name`` is a slip of, the likeliest first."""
        return nearest(name, {one.instance for one in self.prices if not one.reference}, _SLIP)

    @cached_property
    def scheme_names(self) -> tuple[str, ...]:
        """The names of all quantization schemes, sorted."""
        return tuple(sorted({entry["scheme"] for entry in self._schemes.values()}))

    @cached_property
    def publishers(self) -> frozenset[str]:
        """Who publishes quantized checkpoints that are chosen without having been named."""
        files = [folder / "publishers.yaml" for folder in self.folders]
        return frozenset(
            row["name"] for path in files if path.is_file() for row in self.read(path, "publishers")["publishers"]
        )

    @cached_property
    def accuracy(self) -> "AccuracyTables":
        """Scores and recoveries of every model: ``catalog.accuracy.of(model, variant, task, …)``."""
        from planner.catalog.accuracy_tables import AccuracyTables  # an estimate needs no scores

        return AccuracyTables(self)

    @cached_property
    def speed(self) -> "SpeedTables":
        """What kernels reach on each GPU: ``catalog.speed.device(gpu)`` and ``catalog.speed.engine``."""
        from planner.catalog.speed_tables import SpeedTables  # nor speed, unless it is asked for

        return SpeedTables(self)

    def read(self, path: Path, room: str) -> dict[str, Any]:
        """Return the mapping in one file of a room; a file that people wrote is checked first.

        Raises:
            InputError: the file is not readable, or not of the room's shape.
        """
        if any(path.is_relative_to(folder) for folder in self._trusted):
            return yaml_files.read(path)
        from planner.catalog.checked import read_checked  # pydantic is not loaded for the shipped files

        return read_checked(path, room)

    def gpu(self, name: str) -> GPU:
        """Return the GPU with this catalog name, product name (as NVML prints it) or alias.

        Any order of the name's words will do, and a form factor needs no generation: ``h100-sxm-80gb``. Where several
        cards carry one name (``NVIDIA GeForce RTX 4090`` is also a modified card with 48 GB) it is the one with the
        least memory, so that a plan fits all of them.

        Raises:
            UnknownName: no device has the name; carries the nearest ones.
        """
        wanted = plain(name)
        exact = [gpu for gpu in self.gpus if plain(gpu.name) == wanted]
        by_alias = [gpu for gpu in self.gpus if wanted in map(plain, _names(gpu))]
        matches = exact or by_alias or self._meant(name)
        if not matches:
            raise UnknownName("GPU", name, self._nearest_gpus(name))
        return self._with_seen(min(matches, key=lambda gpu: gpu.memory_bytes))

    def _with_seen(self, gpu: GPU) -> GPU:
        """Return a device with what the user's own start-ups and load tests on it teach."""
        if not (self.measured or self.load_tests):
            return gpu
        starts = [start for start in self.measured if plain(start.gpu) == plain(gpu.name)]
        if starts and gpu.name not in self._seen:
            from planner.catalog.measured import seen_on

            self._seen[gpu.name] = seen_on(gpu, starts, self._at_hand())
        tests = [test for test in self.load_tests if plain(test.gpu) == plain(gpu.name)]
        if tests and gpu.name not in self._paced:
            from planner.catalog.load_tests import paced_on

            self._paced[gpu.name] = paced_on(gpu, tests, self._at_hand())
        return replace(gpu, seen=self._seen.get(gpu.name, ()), paced=self._paced.get(gpu.name, ()))

    def _at_hand(self) -> "Catalog":
        """Return the catalog with what it has read, which looks nothing up on the hub."""
        alike = copy.copy(self)
        alike._offline = True
        return alike

    def _meant(self, name: str) -> list[GPU]:
        """Return the whole cards that ``name`` can mean, those with the fewest words it leaves out."""
        counts = [
            (count, gpu)
            for gpu in self.gpus
            for known in _names(gpu)
            if not gpu.parent and (count := words_left_out(name, known, gpu.memory_bytes)) is not None
        ]
        return [gpu for count, gpu in counts if count == min(other for other, _ in counts)]

    def find(self, name: str) -> tuple[Model, Variant]:
        """Return the model and checkpoint with this catalog name or Hugging Face id, of a base or of a variant.

        Upper and lower case do not matter. A name without organisation is accepted when one checkpoint has it. An id
        that is not listed is looked up on the hub once; what is found is kept in the user's cache.

        Raises:
            UnknownName: no entry has the name, or several checkpoints do; carries the nearest ones.
            SourceUnavailable: the hub has such a repository but does not let it be read.
            UnsupportedModel, InvalidConfig: the repository cannot be sized.
        """
        matches = list(self._called(name))
        if len({variant.repository for _, variant in matches}) == 1:
            return matches[-1]
        if matches:
            raise UnknownName("model", name, tuple(sorted({variant.repository for _, variant in matches})))
        from planner.catalog.foreign_names import REPOSITORY, is_gguf, same_weights  # only for what is not listed

        if is_gguf(name):
            raise UnknownName("model", name, same_weights(name, self.models), gguf=True)
        if not REPOSITORY.fullmatch(name):
            close = nearest(name, _model_names(self.models)) or same_weights(name, self.models)
            raise UnknownName("model", name, close)
        return self._looked_up(name)

    def lists(self, name: str) -> bool:
        """Whether a checkpoint has this name, in any case; nothing is looked up."""
        return next(self._called(name), None) is not None

    def _looked_up(self, repository: str) -> tuple[Model, Variant]:
        from planner.catalog.hub_requests import LaterError
        from planner.catalog.looked_up import looked_up  # only what is not listed needs all of this

        try:
            if self._silent:
                raise self._silent
            path = looked_up(repository, offline=self._offline)
        except SourceUnavailable as error:
            if isinstance(error, LaterError):
                self._silent = error
            close = () if error.found else nearest(repository, _model_names(self.models))
            raise UnknownName("model", repository, close, hub=error) from None
        model = self._family(path)[0]
        if model.base and (base := next(self._called(model.base), None)):
            model = _as_made_from(model, base[0])
        return model, model.variants[0]

    def usual(self, repository: str, scheme: str) -> Variant:
        """Return a checkpoint that is not listed, as one of a scheme of ``schemes.yaml`` usually is."""
        return model_entry.as_published(repository, scheme, self._schemes)

    def _nearest_gpus(self, name: str) -> tuple[str, ...]:
        """Return the catalog names of the whole cards that are called something like ``name``."""
        called = {alias: gpu.name for gpu in self.gpus if not gpu.parent for alias in _names(gpu)}
        return tuple(dict.fromkeys(called[match] for match in nearest(name, called)))

    def _called(self, name: str) -> Iterator[tuple[Model, Variant]]:
        """Yield what has a name, in any case, of every family file that contains its last part."""
        wanted = name.casefold()
        token = model_entry.short_name(wanted)
        for path in self._model_files:
            if path not in self._names:
                if path not in self._families and token not in self._text(path):
                    continue
                self._names[path] = _by_name(self._family(path))
            yield from self._names[path].get(wanted, ())

    @cached_property
    def _model_files(self) -> list[Path]:
        return yaml_files.in_folders(self.folders, "models")

    def _text(self, path: Path) -> str:
        if path not in self._texts:
            self._texts[path] = path.read_text(encoding="utf-8", errors="replace").casefold()
        return self._texts[path]

    def _family(self, path: Path) -> tuple[Model, ...]:
        if path not in self._families:
            self._families[path] = tuple(model_entry.models_in(self.read(path, "models"), self._schemes, str(path)))
        return self._families[path]

    @cached_property
    def _schemes(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for folder in self.folders:
            if (path := folder / "schemes.yaml").is_file():
                found.update(self.read(path, "schemes")["schemes"])
        return found


def _by_name(models: Iterable[Model]) -> dict[str, list[tuple[Model, Variant]]]:
    """Return models with their checkpoints by what they are called, in small letters, with and without organisation."""
    found: dict[str, list[tuple[Model, Variant]]] = {}
    for model in models:
        for variant in model.variants:
            known = [variant.repository, *variant.aliases, *(model.aliases if variant.native else ())]
            names = [name.casefold() for name in known]
            for name in {*names, *map(model_entry.short_name, names)}:
                found.setdefault(name, []).append((model, variant))
    return found


def _as_made_from(model: Model, base: Model) -> Model:
    """Return a quantized checkpoint with what holds for all checkpoints of its base."""
    return replace(
        model,
        base=base.repository,
        tasks=base.tasks,
        licence=base.licence,
        non_commercial=base.non_commercial,
        parameters=base.parameters,
        parameters_grade=base.parameters_grade,
        context_limit=base.context_limit,
        engine_minimum=base.engine_minimum,
        tool_parser=base.tool_parser,
        reasoning_parser=base.reasoning_parser,
        hf_overrides=base.hf_overrides,
        cache_refusals=base.cache_refusals,
    )


def _names(gpu: GPU) -> tuple[str, ...]:
    return gpu.name, gpu.product, *gpu.aliases


def _model_names(models: Iterable[Model]) -> Iterator[str]:
    for model in models:
        yield model.name
        for variant in model.variants:
            yield variant.repository
