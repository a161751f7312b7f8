"""Attention backends: which one an engine version runs a layer with on a GPU, and why it takes no other.

The engine tries backends in an order that depends on the device, and takes the first whose rules a layer meets; what a
constructor refuses afterwards is refused. ``catalog/engines/attention.yaml`` holds orders and rules by version;
``benchmarks/attention_backends`` has asked the engines themselves, and a test holds these answers against theirs.
"""

import functools
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from planner.engine.conditions import Facts, Rule, nearest, read_rule
from planner.engine.data_file import read_data_file
from planner.engine.versions import Version, era_at, parse_version
from planner.errors import InvalidConfig
from planner.resources import data_folder

_PARTS = frozenset({"orders", "backends", "raises"})

Kind = Literal["decoder", "encoder_only", "latent", "compressed"]


class AttentionLayer(Struct, frozen=True, kw_only=True):
    """One kind of attention layer as the engine's selector sees it; sizes in values, ``heads`` per rank.

    ``cache`` is the KV cache dtype and ``block_size`` the one asked for, None where the engine chooses. ``prefix``
    says that tokens of an image attend to later ones. ``index_topk`` is what a sparse layer's indexer chooses (0: not
    sparse); the three sizes of latent heads are 0 elsewhere. ``mixed`` models have head sizes that differ by layer.
    """

    kind: Kind
    head_size: int
    dtype: str
    cache: str
    heads: int = 1
    block_size: int | None = None
    sinks: bool = False
    prefix: bool = False
    window: bool = False
    mixed: bool = False
    index_topk: int = 0
    nope_head_dim: int = 0
    rope_head_dim: int = 0
    value_head_dim: int = 0

    def facts(self, capability: int) -> Facts:
        """Return what rules look at, on a GPU of this compute capability (89 for 8.9)."""
        found = {name: getattr(self, name) for name in self.__struct_fields__}
        return {**found, "capability": capability, "sparse": self.index_topk > 0}


class Refused(Struct, frozen=True):
    """Why one backend is not taken: the facts that are not as it wants them."""

    backend: str
    facts: tuple[str, ...]


class Choice(Struct, frozen=True, kw_only=True):
    """The backend an engine chooses for a layer, or None, and why not those it prefers.

    ``raises`` is what the chosen backend needs and does not find when it is made, or when its kernels are compiled
    (``compiles``); empty where it starts.
    """

    backend: str | None
    refused: tuple[Refused, ...]
    raises: str = ""
    compiles: bool = False
    source: str = ""

    @property
    def starts(self) -> bool:
        """Whether the engine gets past this layer."""
        return self.backend is not None and not self.raises


NAMED = frozenset(
    {
        "AMX_MLA", "AUTO", "B12X", "CPU_ATTN", "CPU_MLA", "CUSTOM", "CUTLASS_MLA", "CUTLASS_MSA", "FLASHINFER",
        "FLASHINFER_MLA", "FLASHINFER_MLA_SPARSE", "FLASHINFER_MLA_SPARSE_DSV4", "FLASHINFER_MLA_SPARSE_DSV41",
        "FLASHINFER_MLA_SPARSE_SM120", "FLASHINFER_MLA_SPARSE_SM90", "FLASHMLA", "FLASHMLA_MEGA_ATTN_DSV41",
        "FLASHMLA_SPARSE", "FLASHMLA_SPARSE_DSV4", "FLASHMLA_SPARSE_DSV41", "FLASH_ATTN", "FLASH_ATTN_DIFFKV",
        "FLASH_ATTN_MLA", "FLASH_ATTN_MLA_SPARSE", "FLASH_ATTN_MLA_SPARSE_FA4", "FLEX_ATTENTION", "HPC_ATTN",
        "MINIMAX_M3_SPARSE", "ROCM_AITER_FA", "ROCM_AITER_MLA", "ROCM_AITER_MLA_SPARSE", "ROCM_AITER_TRITON_MLA",
        "ROCM_AITER_UNIFIED_ATTN", "ROCM_ATTN", "ROCM_FLASHMLA_SPARSE_DSV4", "ROCM_FLASHMLA_SPARSE_DSV41",
        "ROCM_OCTAVE", "ROCM_SEGMENTED_ATTN", "STEP5_DSA", "TOKENSPEED_MLA", "TORCH_SDPA", "TREE_ATTN", "TRITON_ATTN",
        "TRITON_ATTN_DIFFKV", "TRITON_FLASHINFER", "TRITON_FLASH_ATTN", "TRITON_MLA", "TRITON_MSA", "TURBOQUANT",
        "ULTRAQUANT", "XPU_MLA_SPARSE",
    }
)  # fmt: skip
"""Names that some version takes for ``--attention-backend``, in capitals: ``AttentionBackendEnum`` in
v1/attention/backends/registry.py and ``validate_backend_before`` in config/attention.py, 0.17.0 to 0.33.0."""

MERGING = frozenset(
    {
        "FLASH_ATTN", "FLASHINFER", "FLASH_ATTN_MLA", "FLASHMLA", "CUTLASS_MLA", "TRITON_MLA", "FLASHINFER_MLA",
        "FLASHINFER_MLA_SPARSE", "FLASHMLA_SPARSE", "TOKENSPEED_MLA",
    }
)  # fmt: skip
"""Backends that merge what ranks of context parallelism found: ``supports_dcp`` in v1/attention/backends, 0.29.0 to
0.33.0."""


class _Order(Struct, frozen=True):
    when: Rule
    backends: tuple[str, ...]


class _Raise(Struct, frozen=True):
    when: Rule
    needs: str
    compiles: bool
    source: str


class Backends(Struct, frozen=True):
    """The rules of one engine version: the order it tries backends in, what each takes, what constructors refuse."""

    orders: tuple[_Order, ...]
    takes: dict[str, tuple[Rule, ...]]
    raises: dict[str, tuple[_Raise, ...]]
    source: str

    def choose(
        self, layer: AttentionLayer, capability: int, only: str = "", *, dealt_out: bool = False
    ) -> Choice | None:
        """Return what the engine does with a layer on a GPU of this compute capability (89 for 8.9).

        With ``only`` it takes this backend or none (``get_attn_backend_cls`` in ``platforms/cuda.py``, 0.20.0 to
        0.33.0). Where tokens are ``dealt_out`` it takes those alone that merge what ranks found. None where no order is
        known for such a layer.
        """
        facts = layer.facts(capability)
        order = next((order.backends for order in self.orders if order.when.holds(facts)), None)
        if order is None:
            return None
        if only:
            order = (only,)
        refused: list[Refused] = []
        for backend in order:
            apart = dealt_out and backend not in MERGING
            failing = ("dealt_out",) if apart else nearest(self.takes.get(backend, ()), facts)
            if failing == ():
                hit = next((item for item in self.raises.get(backend, ()) if item.when.holds(facts)), None)
                if hit is None:
                    return Choice(backend=backend, refused=tuple(refused), source=self.source)
                return Choice(
                    backend=backend, refused=tuple(refused), raises=hit.needs, compiles=hit.compiles, source=hit.source
                )
            refused.append(Refused(backend, failing or ("version",)))
        return Choice(backend=None, refused=tuple(refused), source=self.source)


def load_backends(version: str, directory: Path | None = None) -> Backends | None:
    """Return the attention rules of an engine version, or None where it is older than what was read.

    Raises:
        UnknownName: the text is not a version.
        InvalidConfig: the data file is broken.
    """
    return _backends(parse_version(version), directory or data_folder("catalog"))


@functools.cache
def _backends(version: Version, directory: Path) -> Backends | None:
    path = directory / "engines" / "attention.yaml"
    document = read_data_file(path, _PARTS)
    try:
        orders = era_at(document["orders"], version)
        if orders is None:
            return None
        takes: dict[str, tuple[Rule, ...]] = {}
        raises: dict[str, tuple[_Raise, ...]] = {}
        for name, eras in document["backends"].items():
            if era := era_at(eras, version):
                takes[name] = tuple(read_rule(rule, name) for rule in era["value"])
        for name, eras in document["raises"].items():
            if era := era_at(eras, version):
                raises[name] = tuple(_raise(item, name, str(era["source"])) for item in era["value"])
        tried = tuple(_Order(read_rule(item["when"], "orders"), tuple(item["try"])) for item in orders["value"])
        return Backends(tried, takes, raises, str(orders["source"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidConfig(str(path), "", f"is not a table of attention backends: {error}") from error


def _raise(stated: dict[str, Any], name: str, source: str) -> _Raise:
    return _Raise(read_rule(stated["when"], name), str(stated["needs"]), bool(stated.get("compiles")), source)
