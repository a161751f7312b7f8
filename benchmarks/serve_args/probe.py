"""Ask the real engine whether it takes a command line: its own argument parser and its own rules for a configuration.

Reads one JSON object per line from standard input and prints one JSON line per question::

    {"repository": "org/name", "line": "--port 8000 ...", "config": {...config.json...}, "files": {}}
    {"repository": ..., "line": ..., "engine": "0.32.0", "verdict": ""}    empty: accepted; otherwise why not

Runs in the engine's environment (see README.md), not in the planner's; nothing of the engine is started.
"""

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import logging
import os
import pathlib
import runpy
import shlex
import sys
import tempfile
import types
from typing import Any

# The engine oracle's probe asks the same environment other questions; importing it also answers the imports of packages
# that only images need.
ORACLE = runpy.run_path(str(pathlib.Path(__file__).resolve().parent.parent / "engine_oracle" / "probe.py"))
STAND_IN = runpy.run_path(str(pathlib.Path(ORACLE["STAND_IN"]) / "sitecustomize.py"))
ANYTHING: type[types.ModuleType] = STAND_IN["_Module"]
# Parsers of reasoning and tool calls look for these in the tokenizer; each model has those of its own.
TOKENS = (
    "<think>", "</think>", "<mm:think>", "</mm:think>", "[THINK]", "[/THINK]", "<tool_call>", "</tool_call>",
    "[TOOL_CALLS]",
)  # fmt: skip


def write_folder(folder: pathlib.Path, question: dict[str, Any]) -> None:
    """Write what the rules look at: config.json and a tokenizer."""
    from tokenizers import Tokenizer

    ORACLE["write_folder"](folder, question)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens(list(TOKENS))
    tokenizer.save(str(folder / "tokenizer.json"))


def know_model_type(config: dict[str, Any]) -> None:
    """Register a bare config class for a type whose class comes with its checkpoint; the keys are what counts."""
    from transformers import AutoConfig, PretrainedConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from vllm.transformers_utils.config import _CONFIG_REGISTRY

    kind = config["model_type"]
    if kind not in CONFIG_MAPPING and kind not in _CONFIG_REGISTRY:
        positions = {"max_position_embeddings": config.get("max_position_embeddings")}
        usual = {"model_type": kind, "rms_norm_eps": 1e-6, "hidden_act": "silu", **positions}
        AutoConfig.register(kind, type("StatedConfig", (PretrainedConfig,), usual))


def serve_module() -> Any:
    """Return the module with the parser of ``vllm serve``, which moved twice."""
    for name in ("common", "launchers", "openai"):
        try:
            module = importlib.import_module(f"vllm.entrypoints.{name}.cli_args")
        except ModuleNotFoundError as error:
            if error.name and not error.name.startswith("vllm"):
                raise
            continue
        if hasattr(module, "make_arg_parser"):
            return module
    raise SystemExit("this engine has no parser for vllm serve")


def make_parser(module: Any) -> Any:
    """Return the parser of ``vllm serve``."""
    try:
        from vllm.utils.argparse_utils import FlexibleArgumentParser
    except ModuleNotFoundError:
        from vllm.utils import FlexibleArgumentParser
    return module.make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))


class CompiledParts(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers imports of the engine's compiled modules, which are not unpacked, with attributes that do nothing."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Take the modules that are compiled and not there."""
        if not name.startswith(("vllm._", "vllm.vllm_flash_attn", "vllm.third_party")):
            return None
        found = importlib.machinery.PathFinder.find_spec(name, path)
        return found or importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Make a module that has every attribute."""
        module = ANYTHING(spec.name)
        module.__file__ = spec.name
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


def answering(operations: Any) -> Any:
    """Return compiled operations of which only questions are answered: yes, a device supports that."""

    def answer(self: Any, name: str) -> Any:
        return (lambda *_: True) if "supports" in name else kind.__getattr__(self, name)

    kind = type(operations)
    return type("Answering", (kind,), {"__getattr__": answer})(operations.name)


def pretend_gpus() -> None:
    """Turn the CPU platform into eight H100, so that the engine follows its rules for GPUs; nothing runs on one."""
    import torch
    from vllm.platforms import current_platform

    sys.meta_path.insert(0, CompiledParts())
    torch.ops._C = answering(torch.ops._C)
    torch.cuda.device_count = lambda: 8
    for loaded in list(sys.modules.values()):  # versions to 0.11 count devices for themselves
        if "cuda_device_count_stateless" in getattr(loaded, "__dict__", {}):
            loaded.cuda_device_count_stateless = lambda: 8  # type: ignore[attr-defined]
    from vllm.platforms.cuda import CudaPlatformBase
    from vllm.platforms.interface import DeviceCapability

    facts = {
        "get_device_capability": DeviceCapability(9, 0),
        "get_device_name": "NVIDIA H100 80GB HBM3",
        "get_device_uuid": "GPU-0",
        "get_device_total_memory": 80 << 30,
        "is_fully_connected": True,
        "device_count": 8,
        "log_warnings": None,
        "is_kv_cache_dtype_supported": True,  # asks the kernels
        "is_cumem_allocator_available": True,  # asks a compiled module
    }
    answers = {name: classmethod(lambda *_, fact=fact, **__: fact) for name, fact in facts.items()}
    current_platform.__class__ = type("PretendedGPUs", (CudaPlatformBase,), answers)
    with contextlib.suppress(ImportError):
        from vllm.config import ReasoningConfig

        # It looks for a model's own words in a tokenizer, and this one has none.
        ReasoningConfig.initialize_token_ids = lambda *_: None


def know_classes(folders: list[str], module: Any, parser: Any) -> None:
    """Let the engine look at every model class once, in this process; it remembers them. On GPUs that needs Triton."""
    import torch
    from vllm.model_executor.models import registry

    registry._run_in_subprocess = lambda function: function()
    if not hasattr(torch._C._cpu, "_is_avx512_supported"):  # the installed PyTorch calls it otherwise
        torch._C._cpu._is_avx512_supported = lambda: True
    for folder in folders:
        verdict([folder], module, parser)


def check_parsers(args: Any) -> None:
    """Refuse parsers the engine does not have, as its server does before it starts (``validate_api_server_args``)."""
    import vllm.reasoning

    name = next(n for n in ("vllm.tool_parsers", "vllm.entrypoints.openai.tool_parsers") if importable(n))
    tools = parser_names(importlib.import_module(name).ToolParserManager)
    if args.enable_auto_tool_choice and args.tool_call_parser not in tools:
        raise KeyError(f"invalid tool call parser: {args.tool_call_parser}")
    reasoning = getattr(args, "reasoning_parser", None)
    if reasoning and reasoning not in parser_names(vllm.reasoning.ReasoningParserManager):
        raise KeyError(f"invalid reasoning parser: {reasoning}")


def importable(name: str) -> bool:
    """Say whether a module exists."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def parser_names(manager: Any) -> set[str]:
    """Return the names of the parsers that a manager knows."""
    if hasattr(manager, "list_registered"):
        return set(manager.list_registered())
    return set(getattr(manager, "tool_parsers", None) or manager.reasoning_parsers)


def verdict(words: list[str], module: Any, parser: Any) -> str:
    """Return why the engine refuses a command line, or nothing."""
    from vllm.engine.arg_utils import AsyncEngineArgs

    said: list[str] = []

    def refuse(message: str) -> None:
        said.append(message)
        sys.exit(2)

    parser.error = refuse
    try:
        args = parser.parse_args(words)
        module.validate_parsed_serve_args(args)
        check_parsers(args)
        args.model = getattr(args, "model_tag", None) or args.model
        AsyncEngineArgs.from_cli_args(args).create_engine_config()
    except SystemExit:
        return "the parser: " + one_line(" ".join(said))
    except Exception as error:
        return f"{type(error).__name__}: {one_line(str(error))}"
    return ""


def one_line(text: str) -> str:
    """Return the beginning of a text on one line."""
    return " ".join(text.split())[:300]


def main() -> None:
    """Answer every question in order."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # the engine prints too
    import vllm

    module = serve_module()
    parser = make_parser(module)
    logging.disable(logging.WARNING)
    questions = [json.loads(line) for line in sys.stdin]
    with tempfile.TemporaryDirectory() as base:
        folders: dict[str, str] = {}
        for number, question in enumerate(questions):
            if question["repository"] not in folders:
                folder = pathlib.Path(base, str(number))
                folder.mkdir()
                write_folder(folder, question)
                know_model_type(question["config"])
                folders[question["repository"]] = str(folder)
        know_classes(list(folders.values()), module, parser)
        pretend_gpus()
        for question in questions:
            folder_name = folders[question["repository"]]
            said = verdict([folder_name, *shlex.split(question["line"])], module, parser)
            asked = {key: question[key] for key in ("repository", "line")}
            answer = {**asked, "engine": vllm.__version__, "verdict": said.replace(folder_name, "MODEL")}
            print(json.dumps(answer), file=out, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
