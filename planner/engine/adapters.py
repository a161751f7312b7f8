"""Adapters (LoRA): what a role asks for, which classes take them, and how they stand on a command line."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from planner.engine.data_file import read_data_file
from planner.engine.options import Words
from planner.engine.versions import parse_version
from planner.errors import InvalidConfig
from planner.resources import data_folder

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks that a server may be started for (``MaxLoRARanks`` in config/lora.py, 0.12.0 to 0.33.0)."""
RANK_ONE_SINCE = "0.12.0"
"""The first version that takes adapters of rank 1 (``possible_max_ranks`` in config/lora.py before)."""
LARGEST_VOCABULARY = 258048
"""The largest vocabulary of a model whose output head takes adapters (``lora/layers/logits_processor.py``, 0.33.0)."""


class Lora(Struct, frozen=True, kw_only=True):
    """Adapters of a role: ``adapters`` of up to ``rank`` are on the GPU at once, ``held`` in host memory.

    ``modules`` are the layers that may hold them, by their last names (none: all). ``names`` are the model names that
    clients ask for and the repository of each.
    """

    adapters: int
    rank: int
    held: int
    modules: tuple[str, ...] = ()
    names: tuple[tuple[str, str], ...] = ()

    @property
    def model_names(self) -> tuple[str, ...]:
        """The model names that clients ask for."""
        return tuple(name for name, _ in self.names)


ADAPTER_OPTIONS = (
    "--enable-lora", "--max-loras", "--max-lora-rank", "--max-cpu-loras", "--lora-target-modules", "--lora-modules",
)  # fmt: skip
"""Every option that adapters may become."""


def lora_flags(lora: Lora) -> dict[str, Any]:
    """Return the fields of ``ServeFlags`` that adapters decide."""
    return {"max_loras": lora.adapters, "max_lora_rank": lora.rank, "lora_modules": lora.modules}


def lora_options(lora: Lora) -> tuple[tuple[str, Words], ...]:
    """Return the options that start a server with adapters."""
    options: list[tuple[str, Words]] = [
        ("--enable-lora", ()),
        ("--max-loras", (str(lora.adapters),)),
        ("--max-lora-rank", (str(lora.rank),)),
    ]
    if lora.held != lora.adapters:
        options.append(("--max-cpu-loras", (str(lora.held),)))
    if lora.modules:
        options.append(("--lora-target-modules", lora.modules))
    if lora.names:
        options.append(("--lora-modules", tuple(f"{name}={repository}" for name, repository in lora.names)))
    return tuple(options)


def read_lora(options: Mapping[str, Words]) -> Lora | None:
    """Return the adapters that options of a command line ask for; the reverse of ``lora_options``.

    Raises:
        ValueError: an option's words are none that it takes.
    """
    if "--enable-lora" not in options:
        return None
    adapters = int("".join(options.get("--max-loras", ("1",))))
    pairs = (word.partition("=") for word in options.get("--lora-modules", ()))
    return Lora(
        adapters=adapters,
        rank=int("".join(options.get("--max-lora-rank", ("16",)))),
        held=int("".join(options.get("--max-cpu-loras", (str(adapters),)))),
        modules=options.get("--lora-target-modules", ()),
        names=tuple((name, repository) for name, _, repository in pairs),
    )


def say_lora(lora: Lora) -> str:
    """Write adapters for people: ``8 of rank 32, as sql (org/sql)``."""
    text = f"{lora.adapters} of rank {lora.rank}"
    if lora.held != lora.adapters:
        text += f", {lora.held} in host memory"
    if lora.modules:
        text += f", on {', '.join(lora.modules)}"
    if lora.names:
        text += ", as " + ", ".join(f"{name} ({repository})" for name, repository in lora.names)
    return text


class AdapterClasses(Struct, frozen=True, kw_only=True):
    """What is known of the model classes: the first version in which each takes adapters, and which layers hold them.

    ``embeddings`` have them on the token embedding and the output head, ``embedding_alone`` on the former only.
    ``fused_experts`` have one pair for gate and up of an expert; ``fused_attention`` and ``fused_feed_forward`` one for
    query, key and value, or for gate and up, ``fused_delta`` one for all inputs of a gated delta net. ``twice_below``
    wrapped a tied head twice, below a version; ``embeddings_below`` are in ``embeddings`` below one.
    """

    takes: Mapping[str, str]
    embeddings: Mapping[str, str]
    embeddings_below: Mapping[str, str]
    embedding_alone: frozenset[str]
    fused_experts: Mapping[str, str]
    fused_attention: frozenset[str]
    fused_feed_forward: frozenset[str]
    fused_delta: frozenset[str]
    twice_below: Mapping[str, str]


def base_class(name: str) -> str:
    """Return the generating class behind one that pools: the engine makes the other out of it."""
    for ending in ("ForSequenceClassification", "Model"):
        if name.endswith(ending):
            return f"{name.removesuffix(ending)}ForCausalLM"
    return name


def since(version: str, classes: Mapping[str, str], name: str) -> bool:
    """Whether a class, or the generating one behind it, is in a table by the version."""
    first = classes.get(name) or classes.get(base_class(name))
    return first is not None and parse_version(version) >= parse_version(first)


def below(version: str, classes: Mapping[str, str], name: str) -> bool:
    """Whether a class is in a table of last versions by one that is older than its own."""
    last = classes.get(name)
    return last is not None and parse_version(version) < parse_version(last)


def adapter_classes(directory: Path | None = None) -> AdapterClasses:
    """Return what is known of adapters by model class.

    Raises:
        InvalidConfig: the data file is broken.
    """
    return _classes(directory or data_folder("catalog"))


_TABLES = ("takes", "embeddings", "fused_experts")
_LISTS = ("embedding_alone", "fused_attention", "fused_feed_forward", "fused_delta")
_LIMITS = ("embeddings_below", "twice_below")


@functools.cache
def _classes(directory: Path) -> AdapterClasses:
    path = directory / "engines" / "adapters.yaml"
    stated = read_data_file(path, frozenset({*_TABLES, *_LISTS, *_LIMITS}))
    found: dict[str, Any] = {}
    try:
        for table in _TABLES:
            found[table] = {name: version for version, names in stated[table].items() for name in names}
        found |= {name: frozenset(stated[name]) for name in _LISTS}
        found |= {name: dict(stated[name]) for name in _LIMITS}
        return AdapterClasses(**found)
    except (TypeError, AttributeError) as error:
        raise InvalidConfig(str(path), "", f"is not what it should be: {error}") from error
