"""Ask the real engine what a model of any size costs, on PyTorch's meta device: no weights, no GPU.

Reads one JSON object per line from standard input and prints one JSON line per case::

    {"id": ..., "config": {...config.json...}, "tensor_parallel_size": 1, "block_size": 16, "kv_bytes": 21474836480,
     "data_parallel_size": 1, "expert_parallel": false, "context_parallel_size": 1, "options": {...EngineArgs...},
     "files": {name: {...}}, "parameters": false, "adapters": false,
     "drafter": {...config.json of a model that drafts...},
     "questions": [{"kv_cache_dtype": "auto", "max_model_len": 8192, "max_num_batched_tokens": 8192}, ...]}

Runs in the engine's environment (see README.md), not in the planner's. The engine is imported once; each case is a
forked child, so that a crash costs one case. The model is built once per case, its cache is planned once per question.
"""

import copy
import json
import os
import pathlib
import runpy
import sys
import tempfile
import traceback
from collections import Counter
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1", VLLM_LOGGING_LEVEL="ERROR", VLLM_PLUGINS="")
os.environ["VLLM_KIMI_K3_GEMM_AR"] = "0"  # a fused kernel, whose package needs CUDA; shapes do not depend on it
# Some models import packages of which nothing is needed to build them; these imports are answered here, and in the
# processes the engine starts to look at a model class.
STAND_IN = str(pathlib.Path(__file__).resolve().parent / "stand_in")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (STAND_IN, os.environ.get("PYTHONPATH"))))
runpy.run_path(f"{STAND_IN}/sitecustomize.py")


def write_folder(folder: pathlib.Path, case: dict[str, Any]) -> None:
    """Write config.json, a byte-level tokenizer and any further files of a case."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*alphabet, "<s>", *case.get("tokens", ())])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "<s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_text(json.dumps(case["config"]))
    if "drafter" in case:
        (folder / "drafter").mkdir()
        write_folder(folder / "drafter", {"config": case["drafter"]})
    for name, content in case.get("files", {}).items():
        (folder / name).write_text(json.dumps(content))


def ask(folder: str, case: dict[str, Any]) -> dict[str, Any]:
    """Build the model inside the engine and return what it weighs and how it would cut its cache."""
    import torch
    import vllm
    from vllm.config import set_current_vllm_config
    from vllm.distributed import ensure_model_parallel_initialized, init_distributed_environment
    from vllm.engine.arg_utils import EngineArgs
    from vllm.model_executor.model_loader.utils import initialize_model

    options = {
        "load_format": "dummy", "enforce_eager": True, "dtype": "bfloat16", "block_size": case.get("block_size", 16),
        **case.get("options", {}),
    }  # fmt: skip
    _know_model_type(case["config"])
    if "drafter" in case:
        options["speculative_config"] = {**options["speculative_config"], "model": f"{folder}/drafter"}
    config = EngineArgs(model=folder, **options).create_engine_config()
    _as_on_gpu(config, case)
    result: dict[str, Any] = {"engine": vllm.__version__, "max_model_len": config.model_config.max_model_len}
    with set_current_vllm_config(config):
        address = f"tcp://127.0.0.1:{29500 + os.getpid() % 2000}"
        init_distributed_environment(
            world_size=1, rank=0, distributed_init_method=address, local_rank=0, backend="gloo"
        )
        ensure_model_parallel_initialized(1, 1)
        _share_out(config, case)
        torch.set_default_dtype(config.model_config.dtype)
        _keep_on_meta(torch)
        with torch.device("meta"):
            model = initialize_model(vllm_config=config)
        result |= _weights(model)
        if case.get("parameters"):
            result["parameters"] = {
                name: [list(p.shape), str(p.dtype).removeprefix("torch.")] for name, p in model.named_parameters()
            }
        if config.speculative_config and config.speculative_config.draft_model_config:
            drafts = config.speculative_config.draft_model_config
            whole = copy.copy(config)
            alone = config.speculative_config.method == "draft_model"  # a head numbers its layers after the model's
            whole.model_config = drafts if alone else config.model_config
            with torch.device("meta"):
                drafter = initialize_model(vllm_config=whole, model_config=drafts, prefix=case.get("prefix", ""))
            result["draft_bytes"] = sum(
                p.numel() * p.element_size() for name, p in drafter.named_parameters() if _own(name, case)
            )
        if case.get("adapters"):
            result["adapter_bytes"] = _adapters(model, config)
        result["kv"] = [_plan_cache(config, question, case) for question in case.get("questions", [])]
    return result


def _share_out(config: Any, case: dict[str, Any]) -> None:
    """Let rank 0 build its share of the model; nothing is communicated while building."""
    import vllm.distributed.parallel_state as parallel_state

    ranks, data_ranks = int(case.get("tensor_parallel_size", 1)), int(case.get("data_parallel_size", 1))
    if ranks * data_ranks == 1:
        return
    parallel_state.get_tp_group().world_size = ranks
    parallel_state.get_dp_group().world_size = data_ranks
    if config.model_config.is_moe:
        parallel_state.get_ep_group().world_size = ranks * data_ranks
    config.parallel_config.tensor_parallel_size = ranks
    config.parallel_config.data_parallel_size = data_ranks
    config.parallel_config.decode_context_parallel_size = int(case.get("context_parallel_size", 1))
    config.parallel_config.enable_expert_parallel = bool(case.get("expert_parallel"))
    config.model_config.verify_with_parallel_config(config.parallel_config)


def _own(name: str, case: dict[str, Any]) -> bool:
    """Whether a drafter keeps a parameter: heads share the model's embedding and output head after loading."""
    return "drafter" in case or not any(shared in name for shared in ("embed_tokens", "lm_head", "shared_head.head"))


def _weights(model: Any) -> dict[str, Any]:
    """Return the bytes of parameters and of rotary tables; a table shared by layers counts once."""
    tables = {id(b): b for name, b in model.named_buffers() if name.endswith("cos_sin_cache")}
    return {
        "parameter_bytes": sum(p.numel() * p.element_size() for p in model.parameters()),
        "rotary_bytes": sum(b.numel() * b.element_size() for b in tables.values()),
    }


def _adapters(model: Any, config: Any) -> int:
    """Wrap the model's layers for adapters, as the engine does after loading, and return the bytes of all buffers."""
    import torch
    from vllm.lora import model_manager
    from vllm.lora.layers import fused_moe

    if not getattr(model, "supports_lora", False):
        raise ValueError(f"{type(model).__name__} does not support LoRA")
    for kind in (fused_moe.FusedMoEWithLoRA, fused_moe.FusedMoE3DWithLoRA):
        kind.__init__ = _expert_shapes
        kind.set_mapping = lambda self, mapping: None
    limits = config.scheduler_config
    model_manager.get_punica_wrapper = lambda *_, **__: object()
    model_manager.LoRAModelManager(
        model,
        limits.max_num_seqs,
        limits.max_num_batched_tokens,
        config.model_config.get_vocab_size(),
        config.lora_config,
        torch.device("meta"),
        config,
    )
    found: dict[int, int] = {}
    for module in model.modules():
        for name, value in vars(module).items():
            if name.endswith(("lora_a_stacked", "lora_b_stacked")):
                tensors = value if isinstance(value, tuple) else (value,) if isinstance(value, torch.Tensor) else ()
                found |= {id(x): x.numel() * x.element_size() for x in tensors}
    return sum(found.values())


def _expert_shapes(self: Any, base_layer: Any) -> None:
    """Set what the buffers of experts are sized by; kernels, on which shapes do not depend, are not there on CPUs."""
    import torch
    from vllm.lora.layers.fused_moe import FusedMoE3DWithLoRA

    torch.nn.Module.__init__(self)
    self.base_layer, self.moe_config = base_layer, base_layer.moe_config
    self._shared_experts = base_layer._shared_experts
    shares = self.moe_config.moe_parallel_config
    self.tp_size, self.tp_rank, self.device = shares.tp_size, shares.tp_rank, torch.device("meta")
    fused = isinstance(self, FusedMoE3DWithLoRA)
    self._w13_slices = 1 if fused or not self.moe_config.is_act_and_mul else 2
    self.enable_moe_shared_loras = False
    self.n_slices = self.local_num_experts * (self._w13_slices + 1)


def _plan_cache(config: Any, question: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    """Return how the engine would cut a cache of ``kv_bytes`` for one set of flags."""
    import torch
    from vllm.config import get_layers_from_vllm_config
    from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase
    from vllm.platforms import current_platform
    from vllm.v1.attention.backends.utils import resolve_kv_cache_layout
    from vllm.v1.core import kv_cache_utils

    cache = config.cache_config
    config.model_config.max_model_len = question["max_model_len"]
    config.scheduler_config.max_num_batched_tokens = question["max_num_batched_tokens"]
    cache.block_size, cache.mamba_page_size_padded = case.get("block_size", 16), None
    cache.cache_dtype = question["kv_cache_dtype"]
    try:
        layers = get_layers_from_vllm_config(config, AttentionLayerBase)
        owners = {n: x for n, x in layers.items() if getattr(x, "kv_sharing_target_layer_name", None) is None}
        for layer in owners.values():
            if hasattr(layer, "kv_cache_dtype"):
                eight = question["kv_cache_dtype"].startswith("fp8")
                layer.kv_cache_dtype = question["kv_cache_dtype"]
                layer.kv_cache_torch_dtype = torch.float8_e4m3fn if eight else config.model_config.dtype
        if config.model_config.is_hybrid:
            current_platform.update_block_size_for_backend(config)
        specs = {name: spec for name, layer in owners.items() if (spec := layer.get_kv_cache_spec(config))}
        kinds = Counter(f"{type(s).__name__} page={s.page_size_bytes} block={s.block_size}" for s in specs.values())
        if not specs:
            return {**question, "layers": {}, "groups": [], "blocks": 0, "max_concurrency": 0.0}
        resolve_kv_cache_layout(config, [[case.get("kv_layout", "LBNHC")]], specs.values())
        kv = kv_cache_utils.get_kv_cache_configs(config, [specs], [int(case["kv_bytes"])])[0]
        return {
            **question,
            "layers": dict(kinds),
            "groups": [len(group.layer_names) for group in kv.kv_cache_groups],
            "blocks": kv.num_blocks,
            "max_concurrency": kv_cache_utils.get_max_concurrency_for_kv_cache_config(config, kv),
        }
    except Exception as error:  # the weights are still worth having
        return {**question, "error": f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"}


def _know_model_type(config: dict[str, Any]) -> None:
    """Register a bare config class for a type whose class comes with its checkpoint; the keys are what counts."""
    from transformers import AutoConfig, PretrainedConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from vllm.transformers_utils.config import _CONFIG_REGISTRY

    kind = config["model_type"]
    if kind not in CONFIG_MAPPING and kind not in _CONFIG_REGISTRY:
        usual = {"model_type": kind, "rms_norm_eps": 1e-6, "hidden_act": "silu", "__init__": _stated}
        AutoConfig.register(kind, type("StatedConfig", (PretrainedConfig,), usual))


def _stated(self: Any, **values: Any) -> None:
    """Keep what a config states; parts of it that name a class the library has become that class."""
    from transformers import AutoConfig, PretrainedConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    for key, value in values.items():
        if isinstance(value, dict) and key.endswith("_config") and key != "quantization_config":
            known = value.get("model_type") in CONFIG_MAPPING
            rest = {name: inner for name, inner in value.items() if name != "model_type"}
            values[key] = AutoConfig.for_model(value["model_type"], **rest) if known else PretrainedConfig(**value)
    PretrainedConfig.__init__(self, **values)


def _as_on_gpu(config: Any, case: dict[str, Any]) -> None:
    """Undo what the engine changes or refuses on CPUs alone; nothing of it is ever run here."""
    from types import SimpleNamespace

    from vllm.model_executor.layers.attention import mla_attention
    from vllm.model_executor.layers.fused_moe import config as moe_config
    from vllm.model_executor.layers.fused_moe.oracle import unquantized
    from vllm.platforms import current_platform

    # Asynchronous scheduling is on by default on GPUs: windows then hold two batches.
    config.scheduler_config.async_scheduling = config.model_config.runner_type != "pooling"
    if "mamba_ssm_cache_dtype" in case:
        config.cache_config.mamba_ssm_cache_dtype = case["mamba_ssm_cache_dtype"]
    # Sparse attention and experts without a gate are refused; shapes do not depend on the kernel chosen instead.
    dense = current_platform.get_attn_backend_cls
    type(current_platform).get_attn_backend_cls = staticmethod(
        lambda selected_backend, attn_selector_config, num_heads=None: dense(
            selected_backend, attn_selector_config._replace(use_sparse=False), num_heads
        )
    )
    build = mla_attention.MLACommonImpl.__init__
    mla_attention.MLACommonImpl.__init__ = lambda self, *args, **rest: build(
        self, *args, **{key: value for key, value in rest.items() if not key.startswith(("topk_", "index_"))}
    )
    moe_config.current_platform = SimpleNamespace(is_cuda_alike=lambda: True, is_xpu=lambda: False)
    kernels = unquantized.backend_to_kernel_cls

    def willing(backend: Any) -> list[Any]:
        for kernel in kernels(backend):
            kernel.is_supported_config = staticmethod(lambda *_: (True, None))
        return list(kernels(backend))

    unquantized.backend_to_kernel_cls = willing


def _keep_on_meta(torch: Any) -> None:
    """Let models that move themselves or read a scalar while they are built pass: sizes do not depend on either."""
    from vllm.model_executor.layers.fused_moe.expert_map_manager import ExpertMapManager

    ExpertMapManager.get_compressed_map_string = lambda self: ""  # for the log: it lists the experts of a rank
    torch.cuda.Event = torch.cuda.Stream = type("Nothing", (), {"__init__": lambda self, *_, **__: None})
    torch.nn.Module.to = lambda self, *_, **__: self
    item = torch.Tensor.item
    torch.Tensor.item = lambda self: 1.0 if self.is_meta else item(self)
    cpu = torch.Tensor.cpu
    torch.Tensor.cpu = lambda self: self if self.is_meta else cpu(self)


def run_child(case: dict[str, Any], out: int) -> None:
    """Answer one case and leave the process at once; the engine's threads do not survive a normal exit well."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    answer: dict[str, Any] = {"id": case["id"]}
    try:
        with tempfile.TemporaryDirectory() as folder:
            write_folder(pathlib.Path(folder), case)
            answer |= ask(folder, case)
    except BaseException as error:  # the answer is the error
        answer["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"
        if os.environ.get("PROBE_TRACE"):
            traceback.print_exc()
    os.write(out, (json.dumps(answer) + "\n").encode())
    os._exit(0)


def main() -> None:
    """Read cases, fork one child per case, print answers in order."""
    import vllm.engine.arg_utils
    import vllm.model_executor.model_loader.utils
    import vllm.v1.core.kv_cache_utils  # noqa: F401 - imported before the forks

    for line in sys.stdin:
        if not line.strip():
            continue
        case = json.loads(line)
        out = os.dup(1)
        child = os.fork()
        if child == 0:
            run_child(case, out)
        _, status = os.waitpid(child, 0)
        os.close(out)
        if status:
            print(json.dumps({"id": case["id"], "error": f"the engine's process ended with status {status}"}))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
