"""Quantization: how the weight matrices of one checkpoint are stored on the GPU.

A matrix of ``rows × columns`` (outputs × inputs) is stored as packed codes plus scales, zero points and indices.
``Storage`` is the arithmetic of that; ``Quantization`` says which module of a model uses which storage.
"""

import fnmatch
import functools
import re
from collections.abc import Mapping
from operator import attrgetter
from typing import Literal

from msgspec import Struct, field

from planner.units import ceil_div

Match = Literal["exact", "contains", "prefix", "suffix", "regex", "glob"]

_WRAPPERS = ("model.", "language_model.", "backbone.", "thinker.", "transformer.", "llm.", "text_model.")

_expression = functools.lru_cache(maxsize=4096)(re.compile)
"""A rule is asked about hundreds of modules: looking up what was compiled takes as long as matching."""


@functools.lru_cache(maxsize=4096)
def _wildcards(text: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(text))


_NUMBERED = re.compile(r"[0-9\[?]")
"""What a name or a wildcard needs to fit some numbers and not others."""
_NUMBERLESS = re.compile(r"(?:[A-Za-z_/^$|()-]|\\\.|\.\*)*")
"""Regular expressions in which only ``.*`` can match a digit, so that it matches any number there."""


class Storage(Struct, frozen=True, kw_only=True):
    """How one quantized matrix is laid out in GPU memory after loading.

    ``bits`` per code; one scale of ``scale_bytes`` (None: the model's own dtype) per ``group_size`` inputs (None: all
    of them) and per ``row_group`` outputs (0: all of them, one scale for the whole matrix). ``zero_bits`` is the
    width of a zero point stored per scale; ``index_bytes`` is what is kept per input, as the activation-order
    permutations of GPTQ are; ``fixed_bytes`` per matrix covers global and input scales.
    """

    name: str
    bits: int
    group_size: int | None = None
    row_group: int = 1
    scale_bytes: int | None = None
    zero_bits: int = 0
    index_bytes: int = 0
    fixed_bytes: int = 0

    def tensors(self, rows: int, columns: int, dtype_bytes: int) -> tuple[int, ...]:
        """Return the bytes of the tensors of one matrix of ``rows`` outputs by ``columns`` inputs."""
        groups = ceil_div(columns, self.group_size) if self.group_size else 1
        row_groups = ceil_div(rows, self.row_group) if self.row_group else 1
        scales = groups * row_groups
        scale_bytes = dtype_bytes if self.scale_bytes is None else self.scale_bytes
        return (
            ceil_div(rows * columns * self.bits, 8),
            scales * scale_bytes,
            ceil_div(scales * self.zero_bits, 8),
            columns * self.index_bytes,
            self.fixed_bytes,
        )


class Rule(Struct, frozen=True):
    """Modules whose path matches are stored as ``storage``; None means unquantized, in the model's dtype."""

    match: Match
    text: str
    storage: Storage | None

    def matches(self, spellings: tuple[str, ...]) -> bool:
        """Whether any of a module's spellings matches."""
        if self.match == "exact":
            return self.text in spellings
        if self.match == "regex":
            return any(map(_expression(self.text).match, spellings))
        if self.match == "glob":
            return any(map(_wildcards(self.text).match, spellings))
        if self.match == "prefix":
            return any(spelling.startswith(self.text) for spelling in spellings)
        if self.match == "suffix":
            return any(spelling.endswith(self.text) for spelling in spellings)
        return any(self.text in spelling for spelling in spellings)

    @property
    def numbered(self) -> bool:
        """Whether the rule may fit a path with one number in it and not the same with another."""
        if self.match == "regex":
            return not _NUMBERLESS.fullmatch(self.text)
        return bool(_NUMBERED.search(self.text))


class Quantization(Struct, frozen=True, kw_only=True):
    """Which storage each module of a checkpoint uses.

    ``method`` is what the checkpoint's config calls it (None: not quantized); ``scheme`` is the planner's name for
    the family of formats (``awq-int4``, ``fp8``, ``bf16`` …). ``linear`` is the storage of linear layers and
    ``experts`` that of expert matrices, unless ``named`` (by canonical module path) or the first matching rule says
    otherwise. ``kv_cache_dtype`` is what the checkpoint asks of a KV cache left at ``auto`` (None: nothing).
    ``widest`` is how a checkpoint whose config was not seen may be stored at its largest (None: it was seen).
    """

    method: str | None = None
    scheme: str = "bf16"
    bits: int = 16
    group_size: int | None = None
    linear: Storage | None = None
    experts: Storage | None = None
    head: Storage | None = None
    named: Mapping[str, Storage | None] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    act_order: bool = False
    kv_cache_dtype: str | None = None
    dtype_needed: str | None = None
    widest: "Quantization | None" = None

    def __hash__(self) -> int:
        return hash(_HASHED(self))

    def storage(self, path: str, *, expert: bool = False) -> Storage | None:
        """Return how the module at ``path`` (such as ``layers.3.mlp.down_proj``) is stored; None: not quantized."""
        if self.method is None:
            return None
        if path in self.named:
            return self.named[path]
        if self.rules:
            names = spellings(f"{path}.0.up_proj") + spellings(path) if expert else spellings(path)
            for rule in self.rules:
                if rule.matches(names):
                    return rule.storage
        return self.experts if expert else self.linear

    @property
    def tells_layers_apart(self) -> bool:
        """Whether some name or rule may fit one layer and not another: it has a number, a class or a count in it."""
        return bool(self.named) or any(rule.numbered for rule in self.rules)


_HASHED = attrgetter(*(name for name in Quantization.__struct_fields__ if name != "named"))
"""All but what has no hash; quantizations that differ in it alone are told apart when they are compared."""


def canonical(path: str) -> str:
    """Return a module path without the wrappers a checkpoint puts in front: ``layers.0.mlp.down_proj``."""
    stripped = True
    while stripped:
        stripped = False
        for wrapper in _WRAPPERS:
            if path.startswith(wrapper):
                path, stripped = path.removeprefix(wrapper), True
    return path.removesuffix(".weight")


def spellings(path: str) -> tuple[str, ...]:
    """Return the names under which checkpoints list a module whose canonical path is ``path``."""
    return (path, f"model.{path}", f"model.language_model.{path}", f"language_model.model.{path}")
