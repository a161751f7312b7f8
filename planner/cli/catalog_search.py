"""What ``planner catalog search`` takes: words, each of which a model, a checkpoint or a GPU has somewhere."""

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import SequenceMatcher
from typing import TypeVar

from msgspec import Struct

from planner.catalog import Catalog
from planner.catalog.names import nearest
from planner.cli.catalog_facts import Checkpoint
from planner.facts.gpu import GPU
from planner.facts.variant import Model
from planner.units import BILLION

T = TypeVar("T")

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)b")
_NEAR_PERCENT = 5
"""How far from the number of parameters a size may be: models of 8.2 billion are called 8B."""

_FEW = 6
"""Models, or GPUs, that are listed where what was typed is called by no name."""

_ALIKE = 0.75
"""How alike a word must be to one that is there, as difflib counts, to be taken for a slip of it."""


class Query(Struct, frozen=True):
    """Words in lower case, all of which must be found, and those that were taken for slips of others."""

    words: tuple[str, ...] = ()
    slips: tuple[tuple[str, str], ...] = ()

    def checkpoints(self, model: Model, found: Sequence[Checkpoint]) -> list[Checkpoint]:
        """Return the checkpoints that have the words which the model has not itself."""
        left = [word for word in self.words if not _in_model(word, model)]
        return [one for one in found if all(_in(word, _of_checkpoint(one)) for word in left)]

    def gpus(self, known: Iterable[GPU]) -> list[GPU]:
        """Return the GPUs that have all words in their names."""
        return [gpu for gpu in known if all(_in(word, _of_gpu(gpu)) for word in self.words)]

    def nearest(self, models: Sequence[T], name: Callable[[T], str]) -> Sequence[T]:
        """Return all of what was found, or where words are slips and that is much, what is called most like them."""
        if not self.slips or len(models) <= _FEW:
            return models
        typed = _plain("".join(self.words))
        return sorted(models, key=lambda one: -SequenceMatcher(None, typed, _plain(name(one))).ratio())[:_FEW]

    def first(self, model: Model) -> bool:
        """Whether a model is called as was asked, word for word, so that it is listed before others."""
        return "".join(map(_plain, self.words)) in _plain(model.name)


def read_query(text: str, catalog: Catalog) -> Query:
    """Split a text into words; one that nothing in the catalog has is taken for a slip of the nearest that is there."""
    words = text.casefold().split()
    unknown = [word for word in words if not _anywhere(word, catalog)]
    known = _vocabulary(catalog) if unknown else frozenset()
    slips = tuple((word, near[0]) for word in unknown if (near := nearest(word, known, _ALIKE)))
    taken = dict(slips)
    return Query(tuple(taken.get(word, word) for word in words), slips)


def _anywhere(word: str, catalog: Catalog) -> bool:
    if any(_in_model(word, model) for model in catalog.models) or any(_in(word, _of_gpu(gpu)) for gpu in catalog.gpus):
        return True
    return any(_in(word, _of_checkpoint(Checkpoint(m, one))) for m in catalog.models for one in m.variants)


def _in_model(word: str, model: Model) -> bool:
    """Whether a model has a word in its names, is for that task, or has about so many parameters."""
    text = " ".join((model.name, model.repository, *model.aliases, model.family, *model.tasks, model.licence))
    if _in(word, text):
        return True
    size = _SIZE.fullmatch(word)
    off = abs(model.parameters - float(size[1]) * BILLION) if size else model.parameters
    return 100 * off <= _NEAR_PERCENT * model.parameters


def _of_checkpoint(one: Checkpoint) -> str:
    return " ".join((one.variant.repository, *one.variant.aliases, one.variant.scheme))


def _of_gpu(gpu: GPU) -> str:
    return " ".join((gpu.name, gpu.product, *gpu.aliases, gpu.generation))


def _in(word: str, text: str) -> bool:
    """Whether a text has a word, however words are joined in it; a size only as a whole: 27B is no 7B."""
    if _SIZE.fullmatch(word):
        return bool(re.search(rf"(?<![a-z0-9.]){re.escape(word)}(?![a-z0-9])", text.casefold()))
    return word in text.casefold() or (bool(_plain(word)) and _plain(word) in _plain(text))


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", text.casefold())


def _vocabulary(catalog: Catalog) -> frozenset[str]:
    """Return the words that names, tasks and schemes are made of."""
    texts = [_of_gpu(gpu) for gpu in catalog.gpus]
    for model in catalog.models:
        texts += [model.name, model.repository, model.family, *model.tasks]
        texts += [_of_checkpoint(Checkpoint(model, variant)) for variant in model.variants]
    return frozenset(word for text in texts for word in re.findall(r"[a-z0-9.]{3,}", text.casefold()))
