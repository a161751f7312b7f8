"""What every engine version is asked: layers of attention in every setting that decides which backend runs them.

Plain Python without imports of the planner, so that ``probe.py`` can run it in the engine's environment.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

CAPABILITIES = ("7.0", "7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "10.3", "11.0", "12.0", "12.1")
HEAD_SIZES = (32, 64, 72, 80, 96, 112, 120, 128, 160, 192, 256, 320, 512, 576)
CACHES = ("auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2", "int8_per_token_head", "nvfp4", "turboquant_k8v4")
FEATURES = tuple(
    "+".join(name for name, chosen in zip(("sinks", "prefix", "window"), bits, strict=True) if chosen)
    for bits in itertools.product((False, True), repeat=3)
)
# KV rank, head sizes without and with positions, value head size, tokens the indexer chooses (0: not sparse).
LATENT_SHAPES = (
    (512, 128, 64, 128, 0), (512, 192, 64, 256, 0), (256, 64, 32, 64, 0), (512, 128, 64, 128, 2048),
    (512, 192, 64, 256, 2048), (512, 192, 64, 256, 1024),
)  # fmt: skip
LATENT_CACHES = ("auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_ds_mla")
LATENT_HEADS = (8, 16, 32, 128)


def rows() -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield what the questions of one line of the record have in common, and the questions."""
    for capability in CAPABILITIES:
        for dtype, features in itertools.product(("bfloat16", "float16"), FEATURES):
            common: dict[str, Any] = {"kind": "decoder", "capability": capability, "dtype": dtype, "features": features}
            yield common, _plain(HEAD_SIZES, CACHES)
        for dtype, features in itertools.product(("float32",), ("", "window")):
            common = {"kind": "decoder", "capability": capability, "dtype": dtype, "features": features}
            yield common, _plain(HEAD_SIZES, ("auto",))
        for dtype in ("bfloat16", "float16", "float32"):
            common = {"kind": "encoder_only", "capability": capability, "dtype": dtype, "features": ""}
            yield common, _plain(HEAD_SIZES, ("auto",))
        common = {"kind": "blocks", "capability": capability, "dtype": "bfloat16", "features": ""}
        yield common, _plain((64, 128, 256), ("auto", "fp8"), (8, 16, 32, 64, 128, 256))
        for features in ("", "prefix", "window", "prefix+window"):
            common = {"kind": "mixed", "capability": capability, "dtype": "bfloat16", "features": features}
            yield common, _plain((256, 512), ("auto", "bfloat16", "fp8"))
        for dtype, shape in itertools.product(("bfloat16", "float16"), LATENT_SHAPES):
            common = {"kind": "latent", "capability": capability, "dtype": dtype, "shape": [*shape]}
            both = itertools.product(LATENT_HEADS, LATENT_CACHES)
            yield common, [{"heads": heads, "cache": cache, "block": None} for heads, cache in both]
        common = {"kind": "compressed", "capability": capability, "dtype": "bfloat16"}
        yield common, [{"cache": cache} for cache in ("auto", "fp8")]


def _plain(sizes: Sequence[int], caches: Sequence[str], blocks: Sequence[int | None] = (None,)) -> list[dict[str, Any]]:
    """Return the questions about layers that cache keys and values, in the order of their answers."""
    asked = itertools.product(sizes, caches, blocks)
    return [{"head_size": size, "cache": cache, "block": block} for size, cache, block in asked]
