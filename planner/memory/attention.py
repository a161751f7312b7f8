"""Attention layers for which an engine has no backend on a GPU, or one that refuses."""

from collections.abc import Iterator

from planner.architecture import Architecture
from planner.engine.attention_layers import attention_choices, backend_names
from planner.engine.backends import AttentionLayer, Choice
from planner.engine.flags import ServeFlags
from planner.engine.profile import EngineProfile
from planner.engine.rules import Refusal, refused
from planner.facts.gpu import BF16_CAPABILITY, GPU, dotted
from planner.facts.quantization import Quantization
from planner.memory.terms import Server

_FACTS = {
    "capability": "compute capability", "cache": "KV cache dtype", "head_size": "head size", "sinks": "attention sinks",
    "prefix": "images that attend both ways", "kind": "kind of attention", "sparse": "sparse attention",
    "nope_head_dim": "size of heads without positions", "index_topk": "tokens chosen by the index",
    "block_size": "block size", "version": "engine version", "dealt_out": "tokens dealt out over ranks",
}  # fmt: skip


def attention_backend(server: Server, profile: EngineProfile, gpu: GPU) -> str:
    """Name what runs the attention layers of a server; nothing where it is not known, or nothing does."""
    return backend_names(attention_choices(server.architecture, server.quantization, server.flags, profile, gpu)) or ""


def attention_refusals(
    architecture: Architecture, quantization: Quantization, flags: ServeFlags, profile: EngineProfile, gpu: GPU
) -> Iterator[Refusal]:
    """Yield why the engine cannot run attention layers: it finds no backend, or the one it chooses raises."""
    for layer, choice in attention_choices(architecture, quantization, flags, profile, gpu):
        common = {
            "engine": str(profile),
            "layers": _described(layer),
            "capability": dotted(gpu.capability or 0),
            "gpu": gpu.name,
        }
        if choice.backend is None:
            yield refused("no-backend", **common, reasons=_reasons(choice))
        elif choice.raises:
            instead = "bfloat16" if (gpu.capability or 0) >= BF16_CAPABILITY else "float16"
            yield refused(
                "backend-raises", **common, cache=layer.cache, backend=choice.backend, needed=choice.raises,
                instead=instead,
            )  # fmt: skip


def _described(layer: AttentionLayer) -> str:
    """Name a kind of layer by what decides about it."""
    words = {"latent": "latent", "compressed": "compressed sparse", "encoder_only": "encoder"}.get(layer.kind, "")
    name = f"{words} attention".strip()
    if layer.index_topk:
        name = f"sparse {name}"
    marks = [f"head size {layer.head_size}"]
    marks += ["attention sinks"] if layer.sinks else []
    marks += ["images that attend both ways (prefix)"] if layer.prefix else []
    return f"{name} ({', '.join(marks)}, {layer.dtype}, {layer.cache} cache)"


def _reasons(choice: Choice) -> str:
    """Say for every backend what stands against it."""
    refused_by = (
        f"{one.backend} ({', '.join(_FACTS.get(fact, fact) for fact in one.facts)})" for one in choice.refused
    )
    return "not " + ", not ".join(refused_by)
