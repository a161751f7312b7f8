"""Ask the real engine which attention backend it would run a layer with, on a GPU that is not here.

Prints one JSON line for each line of the record: ``{"kind": ..., "capability": ..., ..., "answers": [...]}``. An answer
is the name of the backend the engine chooses, with ``!`` behind it where its constructor then raises, and ``none``
where the engine finds no backend. Runs in the engine's environment (see README.md), not in the planner's.

The engine's selection for NVIDIA GPUs is Python; stand-ins answer for what is compiled, and for FlashInfer. So the
answers are the engine's own rules, not whether a kernel was built.
"""

import functools
import importlib
import importlib.abc
import importlib.machinery
import json
import logging
import os
import pathlib
import runpy
import sys
import types
from collections.abc import Iterator
from typing import Any

os.environ.update(VLLM_NO_USAGE_STATS="1", HF_HUB_OFFLINE="1", VLLM_HAS_FLASHINFER_CUBIN="1")
GRID = runpy.run_path(str(pathlib.Path(__file__).resolve().parent / "grid.py"))
COMPILED = (
    "gguf", "flashinfer", "tokenspeed_mla", "vllm._", "vllm.vllm_flash_attn._vllm_fa", "vllm.vllm_flash_attn.cute",
    "vllm.third_party.flashmla",
)  # fmt: skip
SOURCE = ("vllm._custom_ops", "vllm._aiter_ops", "vllm._xpu_ops", "vllm._version", "vllm._bc_linter", "vllm._ipex_ops")


class Anything(type):
    """A class that has every attribute."""

    def __getattr__(cls, name: str) -> Any:
        """Return a function that says yes."""
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: True


class StandIn(types.ModuleType):
    """A module whose functions answer True and whose classes have every method."""

    def __getattr__(self, name: str) -> Any:
        """Return a class or a function."""
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "BatchMLAPagedAttentionWrapper":  # looked at by versions that bring a FlashInfer which has it
            return type(name, (), {"run": lambda self, *, ckv_scale_arr=None: None})
        return Anything(name, (), {}) if name[:1].isupper() else (lambda *_, **__: True)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers imports of what is compiled, unless it is there."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Take the modules that are compiled and not there."""
        if not name.startswith(COMPILED) or name.startswith(SOURCE):
            return None
        found = (
            None
            if name.endswith(("_C", "flashinfer", "gguf"))
            else importlib.machinery.PathFinder.find_spec(name, path)
        )
        return found or importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Make a module that has every attribute."""
        module = StandIn(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


def pretend(capability: str) -> Any:
    """Make the engine believe that it runs on a GPU of this compute capability, and return that capability."""
    import vllm.platforms
    from vllm.platforms.cuda import CudaPlatformBase
    from vllm.platforms.interface import DeviceCapability

    major, minor = map(int, capability.split("."))
    found = DeviceCapability(major, minor)
    facts = {"get_device_capability": found, "get_device_name": "GPU", "get_device_total_memory": 80 << 30}
    answers = {name: classmethod(lambda *_, fact=fact, **__: fact) for name, fact in facts.items()}
    vllm.platforms._current_platform = type("PretendedGPU", (CudaPlatformBase,), answers)()
    for name, module in list(sys.modules.items()):  # those that imported the platform when they were loaded
        if name.startswith("vllm.") and "current_platform" in getattr(module, "__dict__", {}):
            module.current_platform = vllm.platforms._current_platform  # type: ignore[attr-defined]
        for function in list(vars(module).values()) if name.startswith("vllm.") else ():
            if isinstance(function, functools._lru_cache_wrapper):
                function.cache_clear()
    return found


def selector() -> Any:
    """Return the class of the selector's questions, which moved once."""
    try:
        return importlib.import_module("vllm.v1.attention.selector").AttentionSelectorConfig
    except ModuleNotFoundError:
        return importlib.import_module("vllm.attention.selector").AttentionSelectorConfig


def chosen(capability: Any, facts: dict[str, Any], heads: int | None) -> str:
    """Return the backend the engine takes first."""
    import vllm.platforms

    kind = selector()
    config = kind(**{name: value for name, value in facts.items() if name in kind._fields})
    accepted, _ = type(vllm.platforms._current_platform).get_valid_backends(capability, config, heads)
    if not accepted:
        return "none"
    first = accepted[0]
    backend = first.backend if hasattr(first, "backend") else first[0]
    return str(backend.name)


def raises(backend: str, facts: dict[str, Any]) -> bool:
    """Whether the constructor of a backend that was chosen refuses."""
    import torch
    from vllm.v1.attention.backends.registry import AttentionBackendEnum

    more = {"sinks": torch.zeros(8, dtype=torch.bfloat16)} if facts["has_sink"] else {}
    window = 512 if facts["has_sliding_window"] else None
    attention = facts["attn_type"]
    common = (8, facts["head_size"], 1.0, 8, None, window, facts["kv_cache_dtype"], None, attention, None)
    try:
        AttentionBackendEnum[backend].get_class().get_impl_cls()(*common, **more)
    except (ValueError, NotImplementedError, AssertionError) as error:
        print(backend, facts, error, file=sys.stderr)
        return "not compiled with CUDA" not in str(error)
    except (AttributeError, RuntimeError, TypeError) as error:  # past its checks, it looks at a model or at the device
        print("past its checks:", backend, repr(error), file=sys.stderr)
    return False


def plain(common: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
    """Return a question about a layer that caches keys and values, as the selector takes it."""
    import torch

    features = common["features"].split("+")
    return {
        "head_size": question["head_size"],
        "dtype": getattr(torch, common["dtype"]),
        "kv_cache_dtype": question["cache"],
        "block_size": question["block"],
        "has_sink": "sinks" in features,
        "use_mm_prefix": "prefix" in features,
        "has_sliding_window": "window" in features,
        "attn_type": "encoder_only" if common["kind"] == "encoder_only" else "decoder",
    }


def latent(common: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
    """Return a question about a layer of latent attention."""
    import torch

    rank, _, rope, _, topk = common["shape"]
    return {
        "head_size": rank + rope,
        "dtype": getattr(torch, common["dtype"]),
        "kv_cache_dtype": question["cache"],
        "block_size": question["block"],
        "use_mla": True,
        "use_sparse": bool(topk),
    }


def latent_model(config: Any, shape: list[int], heads: int) -> Any:
    """Return the engine's configuration with a model of latent attention, as far as backends look at one."""
    rank, nope, rope, value, topk = shape
    names = {"kv_lora_rank": rank, "qk_nope_head_dim": nope, "qk_rope_head_dim": rope, "v_head_dim": value}
    text = types.SimpleNamespace(**names, **({"index_topk": topk} if topk else {}))
    config.model_config = types.SimpleNamespace(
        hf_text_config=text, hf_config=text, is_diffusion=False, is_mm_prefix_lm=False, rswa_window=None,
        get_num_attention_heads=lambda _: heads, get_num_kv_heads=lambda _: 1,
    )  # fmt: skip
    return config


def mixed_model(config: Any) -> Any:
    """Return the configuration as Gemma 4 leaves it: its head sizes differ by layer."""
    from vllm.model_executor.models.config import Gemma4Config

    kinds = {"sliding_attention": 256, "full_attention": 512}
    text = types.SimpleNamespace(head_dim=256, global_head_dim=512, layer_types=list(kinds))
    layers = [types.SimpleNamespace(head_size=size) for size in kinds.values()]
    sizes = type("Layers", (list,), {"total_num_hidden_layers": len(kinds)})(layers)
    config.model_config = types.SimpleNamespace(hf_text_config=text, hf_config=text, model_arch_config=sizes)
    Gemma4Config.verify_and_update_config(config)
    return config


def plain_model(common: dict[str, Any], question: dict[str, Any]) -> Any:
    """Return a model, as far as the backends of layers that cache keys and values look at one."""
    text = types.SimpleNamespace(attn_logit_softcapping=None)
    return types.SimpleNamespace(
        hf_text_config=text, hf_config=text, is_diffusion=False, is_mm_prefix_lm="prefix" in common["features"],
        rswa_window=None, max_model_len=4096, is_hybrid=False, get_num_attention_heads=lambda _: 8,
        get_num_kv_heads=lambda _: 8, get_head_size=lambda: question["head_size"], is_encoder_decoder=False,
        get_num_layers=lambda _: 32, dtype=None, enforce_eager=False,
    )  # fmt: skip


def compressed(capability: Any, cache: str) -> str:
    """Return the backend of DeepSeek-V4, which the model chooses itself, or none where the kernel it takes refuses."""
    from vllm.config import VllmConfig

    try:
        model = importlib.import_module("vllm.models.deepseek_v4.nvidia.model")
        kind = model._select_dsv4_attn_cls(VllmConfig())
        backend = kind.backend_cls
    except (ModuleNotFoundError, AttributeError) as error:  # before 0.24 there is one
        print(repr(error), file=sys.stderr)
        from vllm.v1.attention.ops.flashmla import is_flashmla_sparse_supported

        return "FLASHMLA_SPARSE_DSV4" if is_flashmla_sparse_supported()[0] else "none"
    accepted = backend.supports_compute_capability(capability)
    if "FLASHMLA" in backend.get_name():
        from vllm.v1.attention.ops.flashmla import is_flashmla_sparse_supported

        accepted = accepted and is_flashmla_sparse_supported()[0]
    return backend.get_name() if accepted and cache in ("auto", *backend.supported_kv_cache_dtypes) else "none"


def answers(common: dict[str, Any], questions: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the engine's answers to the questions of one line."""
    import torch
    from vllm.config import VllmConfig, set_current_vllm_config

    capability = pretend(common["capability"])
    config, forced = VllmConfig(), None
    for question in questions:
        if common["kind"] == "compressed":
            yield compressed(capability, question["cache"])
            continue
        if common["kind"] == "latent":
            with set_current_vllm_config(latent_model(config, common["shape"], question["heads"])):
                yield chosen(capability, latent(common, question), question["heads"])
            continue
        config = VllmConfig()
        config.cache_config.cache_dtype = question["cache"]
        if common["kind"] == "mixed":
            forced = mixed_model(config).attention_config.backend
        config.model_config = plain_model(common, question)
        with set_current_vllm_config(config):
            torch.set_default_dtype(getattr(torch, common["dtype"]))
            facts = plain(common, question)
            name = forced.name if forced else chosen(capability, facts, 8)
            yield name + "!" if name != "none" and raises(name, facts) else name
            torch.set_default_dtype(torch.float32)


def without_memory(make: Any) -> Any:
    """Return a function that makes tensors, of which those on a GPU have a shape and no memory."""

    def made(*sizes: Any, **settings: Any) -> Any:
        sizes = tuple(1 if size is True else size for size in sizes)  # a stand-in's answer
        on_gpu = str(settings.get("device", "")).startswith("cuda")
        return make(*sizes, **(settings | {"device": "meta"} if on_gpu else settings))

    return made


def answering(operations: Any) -> Any:
    """Return compiled operations of which only questions are answered: yes, a device supports that."""

    def answer(self: Any, name: str) -> Any:
        return (lambda *_: True) if "supports" in name else kind.__getattr__(self, name)

    kind = type(operations)
    return type("Answering", (kind,), {"__getattr__": answer})(operations.name)


def main() -> None:
    """Answer every question of the grid."""
    import torch

    sys.meta_path.insert(0, Finder())
    torch.empty, torch.zeros = without_memory(torch.empty), without_memory(torch.zeros)
    torch.ops._C = answering(torch.ops._C)
    torch.cuda.get_device_properties = lambda *_: types.SimpleNamespace(multi_processor_count=132)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # the engine prints too
    import vllm
    import vllm.vllm_flash_attn.flash_attn_interface as flash_attention

    logging.disable(logging.ERROR)
    flash_attention.FA4_AVAILABLE = True  # its source is copied in when a wheel is built
    print(json.dumps({"engine": vllm.__version__}), file=out)
    for common, questions in GRID["rows"]():
        print(json.dumps({**common, "answers": list(answers(common, questions))}), file=out, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
