"""Which command lines the planner writes: those of the examples, one for every feature, and a few that must be refused.

A line is recorded in its settled form: what differs from fleet to fleet and has no rule but a range (``SETTLED``) is
replaced by a fixed value inside that range, so that a record stays true when a plan has more memory for its KV cache.
``LIMITS`` asks the engine about both ends of each range.
"""

import dataclasses
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from benchmarks.engine_oracle.cases import FILES, complete
from planner.artifacts.read_back import Command, read_back
from planner.artifacts.serve_args import Argument, refused_arguments, serve_arguments
from planner.catalog import load_catalog
from planner.catalog.catalog import Catalog
from planner.config_json import parse_config
from planner.engine.adapters import Lora
from planner.engine.chat_templates import chat_template
from planner.engine.flags import ServeFlags
from planner.engine.images import Images
from planner.engine.options import engine_options
from planner.engine.profile import known_versions, load_profile
from planner.engine.settings import EngineSettings
from planner.engine.speculation import Speculation
from planner.engine.versions import parse_version
from planner.errors import UnsupportedModel
from planner.facts.accuracy import Accuracy
from planner.facts.variant import Model, Variant
from planner.memory.context_parallel import SINCE as CONTEXT_RANKS
from planner.memory.refusals import refusal
from planner.options.limits import DATA_RANKS, engine_refusal
from planner.options.served import context_limit, served
from planner.plan import GPUGroup, Ledger, ServerPlan
from planner.units import GIB

ROOT = Path(__file__).resolve().parent.parent.parent
HEAD = "10.0.0.1"
SETTLED = {
    "--host": "127.0.0.1",
    "--port": "8001",
    "--master-port": "29501",
    "--master-addr": HEAD,
    "--data-parallel-address": HEAD,
    "--data-parallel-rpc-port": "29501",
    "--served-model-name": "role",
    "--revision": "c03e6d358207e414f1eca0bb1891e29f1db0e242",
    "--code-revision": "c03e6d358207e414f1eca0bb1891e29f1db0e242",
    "--tokenizer-revision": "c03e6d358207e414f1eca0bb1891e29f1db0e242",
    "--max-num-seqs": "8",
    "--kv-cache-memory-bytes": "8589934592",
    "--gpu-memory-utilization": "0.5",
}
_MODEL = "Qwen/Qwen2.5-7B-Instruct"
_RERANKER = "Qwen/Qwen3-Reranker-0.6B"
_MIXTURE = "Qwen/Qwen3-30B-A3B"
# ModelOpt's exports name the precision of each layer in a file of their own.
_LAYERS = {"model.layers.0.mlp.gate_proj": {"quant_algo": "NVFP4", "group_size": 16}}
_MIXED = {
    "hf_quant_config.json": {
        "producer": {"name": "modelopt"},
        "quantization": {"quant_algo": "MIXED_PRECISION", "quantized_layers": _LAYERS},
    }
}
_SMALL = "--max-model-len 4096 --max-num-batched-tokens 2048 "
LIMITS = (
    _SMALL + "--max-num-seqs 1 --gpu-memory-utilization 0.0001 --kv-cache-memory-bytes 1 --port 1",
    _SMALL + "--max-num-seqs 2048 --gpu-memory-utilization 1 --kv-cache-memory-bytes 99999999999999 --port 65535",
    _SMALL + "--host 0.0.0.0 --served-model-name a.b_c-d0",
)
"""Lines that every version takes: both ends of the ranges of settled values."""
REFUSED = (
    _SMALL + "--max-num-seqs 2049",
    _SMALL + "--gpu-memory-utilization 1.0001",
    "--max-model-len 32769",
    "--tensor-parallel-size 3",
    "--kv-cache-dtype fp9",
    "--dtype int4",
    "--tool-call-parser nobody --enable-auto-tool-choice",
    "--reasoning-parser nobody",
    "--enable-auto-tool-choice",
    "--no-such-option",
)
"""Lines that every version refuses: without these refusals an acceptance would say nothing."""
PINS = (
    EngineSettings(eager=True),
    EngineSettings(cpu_offload_bytes=8 * GIB),
    EngineSettings(cpu_offload_bytes=GIB // 3),
    EngineSettings(kv_offload_bytes=64 * GIB),
    EngineSettings(block_size=32),
    EngineSettings(mamba_cache_dtype="float32"),
    EngineSettings(mamba_ssm_cache_dtype="float16"),
    EngineSettings(capture_sizes=(1, 2, 4, 8)),
    EngineSettings(max_capture_size=64),
    EngineSettings(attention_backend="TRITON_ATTN"),
    EngineSettings(moe_backend="triton"),
    EngineSettings(
        extra_args=("--max-log-len 200", """--allowed-origins '["https://a b"]'""", "--enable-log-requests")
    ),
    EngineSettings(extra_args=("--no-enable-prefix-caching",)),
    EngineSettings(eager=True, cpu_offload_bytes=8 * GIB, block_size=64),
    EngineSettings(lora=Lora(adapters=4, rank=64, held=4)),
    EngineSettings(
        lora=Lora(
            adapters=2,
            rank=16,
            held=8,
            modules=("q_proj", "v_proj"),
            names=(("sql", "org/sql"), ("tone", "org/tone")),
        )
    ),
    EngineSettings(speculative=Speculation(method="ngram", tokens=3)),
    EngineSettings(images=Images(per_request=4, videos=0)),
    EngineSettings(language_model_only=True),
)
"""What roles may pin of the engine; the newest version was asked about all of it, older ones about part."""


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Line:
    """One command line after ``vllm serve MODEL``, in its settled form, and the catalog's name of the model."""

    repository: str
    line: str

    @classmethod
    def of(cls, repository: str, arguments: Iterable[Argument]) -> "Line":
        """Return the line of these arguments; values that have no rule but a range are replaced."""
        settled = [
            (one.flag, *((SETTLED[one.flag],) if one.flag in SETTLED and not one.more else one.words))
            for one in arguments
        ]
        return cls(repository, shlex.join(word for words in settled for word in words))


def versions() -> tuple[str, ...]:
    """Return the engine versions that artifacts can be rendered for, oldest first: those that can fix the KV cache."""
    known = sorted(known_versions(), key=parse_version)
    return tuple(v for v in known if "--kv-cache-memory-bytes" in engine_options(v).flags)


def lines(version: str) -> tuple[Line, ...]:
    """Return every line of one engine version that must be recorded and accepted, each once."""
    written = {line for server in _features(load_catalog(), version) for line in _lines_of(server, version)}
    written |= {Line.of(command.model, command.arguments) for command in example_commands(version)}
    return tuple(sorted(written | {Line(_MODEL, text) for text in LIMITS}))


def checkpoint_lines(version: str) -> tuple[Line, ...]:
    """Return a line for the first checkpoint of every class, and of every scheme, that the planner would choose.

    The catalog grows faster than engines are asked, so these may be missing from the record.
    """
    servers = _kinds(load_catalog(), version)
    return tuple(sorted({line for server in servers for line in _lines_of(server, version)}))


def pinned_lines(version: str) -> tuple[Line, ...]:
    """Return a line for each pin in ``PINS`` that the version has an option for, a chat template and each layout."""
    reranker, _ = load_catalog().find(_RERANKER)
    template = chat_template(reranker.hf_overrides, version)
    scored = {"pooling": True, "kv_cache_memory_bytes": 0, "hf_overrides": reranker.hf_overrides}
    servers = [
        *(_server(_MODEL, settings=settings) for settings in PINS),
        *([_server(_RERANKER, **scored, chat_template=template)] if template else []),
        *_layouts(version),
    ]
    return tuple(sorted({line for server in servers for line in _lines_of(server, version)}))


def refused_lines() -> tuple[Line, ...]:
    """Return the lines that must be refused."""
    return tuple(Line(_MODEL, text) for text in REFUSED)


def example_commands(version: str) -> Iterator[Command]:
    """Yield every start of a server in the files of the committed examples that were made for this version."""
    for plan in sorted((ROOT / "examples").glob("*/plan.yaml")):
        if re.search(f"^engine_version: {re.escape(version)}$", plan.read_text(encoding="utf-8"), re.M):
            for folder in sorted({path.parent for path in plan.parent.glob("artifacts/**/launch.sh")}):
                for commands in read_back(folder).values():
                    yield from commands


def _lines_of(server: ServerPlan, version: str) -> Iterator[Line]:
    """Yield the line of each process of a server: one, or one on each of its nodes."""
    options = engine_options(version)
    for rank in range(len(server.nodes)):
        arguments = serve_arguments(server, options, node_rank=rank, master_address=HEAD)
        if not refused_arguments(arguments, options):
            yield Line.of(server.repository, arguments)


def question(line: Line) -> dict[str, Any]:
    """Return a line as ``probe.py`` reads it, with the ``config.json`` of its checkpoint."""
    model, variant = load_catalog().find(line.repository)
    config = model.config_for(variant)
    architecture, _ = parse_config(config, where=line.repository)
    files = FILES.get(config["architectures"][0], {}) | (_MIXED if variant.scheme == "mixed" else {})
    return {**dataclasses.asdict(line), "config": complete(config, architecture), "files": files}


def _features(catalog: Catalog, version: str) -> Iterator[ServerPlan]:
    """Yield one server for each thing a plan can ask of an engine."""
    pinned = SETTLED["--revision"]
    for changes in (
        {},
        {"revision": pinned},
        {"kv_cache_dtype": "fp8"},
        {"dtype": "auto"},
        {"dtype": "float16"},
        {"tensor_parallel_size": 2},
        {"tensor_parallel_size": 4},
        {"pipeline_parallel_size": 2},
        {"tensor_parallel_size": 2, "pipeline_parallel_size": 4},
        {"trust_remote_code": True},
        {"trust_remote_code": True, "revision": pinned},
    ):
        yield _server(_MODEL, **changes)
    for stages in (2, 4):
        later = tuple(GPUGroup(node=f"node-{index}", gpu_indices=(0, 1)) for index in range(1, stages))
        yield _server(
            _MODEL, node="node-0", tensor_parallel_size=2, pipeline_parallel_size=stages, later_stages=later,
            master_port=29501,
        )  # fmt: skip
    for tool_parser, reasoning_parser in _parsers(catalog, version):
        yield _server(_MODEL, tool_parser=tool_parser, reasoning_parser=reasoning_parser)


def _layouts(version: str) -> Iterator[ServerPlan]:
    """Yield a mixture over ranks of data and expert parallelism, on one or two machines, and with tokens dealt out."""
    yield _server(_MIXTURE, tensor_parallel_size=2, expert_parallel=True)
    if parse_version(version) >= parse_version(CONTEXT_RANKS):
        yield _server(_MIXTURE, tensor_parallel_size=8, context_parallel_size=2)
    if parse_version(version) < parse_version(DATA_RANKS):
        return
    for tensor, stages, ranks in ((1, 1, 8), (2, 1, 4), (1, 2, 4)):
        layout = {"tensor_parallel_size": tensor, "pipeline_parallel_size": stages, "data_parallel_size": ranks}
        yield _server(_MIXTURE, **layout, expert_parallel=True)
        yield _server(
            _MIXTURE, node="node-0", **layout, expert_parallel=True, master_port=29501,
            later_stages=(GPUGroup(node="node-1", gpu_indices=(0, 1, 2, 3)),),
        )  # fmt: skip


def _parsers(catalog: Catalog, version: str) -> list[tuple[str, str]]:
    """Return the pairs of parsers of the models that this version is new enough for."""
    profile = load_profile(version)
    able = [model for model in catalog.models if not engine_refusal(model, model.variants[0], profile)]
    return sorted({(model.tool_parser, model.reasoning_parser) for model in able} - {("", "")})


def _kinds(catalog: Catalog, version: str) -> Iterator[ServerPlan]:
    """Yield a server for the first checkpoint of every class, and of every scheme, that the planner would choose."""
    seen: set[str] = set()
    for model in catalog.models:
        for variant in model.variants:
            kinds = {model.config["architectures"][0], variant.scheme}
            if not kinds <= seen and (server := _served(catalog, version, model, variant)):
                seen |= kinds
                yield server


def _served(catalog: Catalog, version: str, model: Model, variant: Variant) -> ServerPlan | None:
    """Return a server of this checkpoint, or None where the planner refuses it for this version."""
    profile = load_profile(version)
    task = next(iter(sorted(set(model.tasks) & {"embedding", "rerank"})), "general")
    try:
        architecture, quantization = served(model, variant, task)
    except UnsupportedModel:
        return None
    length = min(4096, context_limit(model, architecture))
    flags = ServeFlags(max_model_len=length, max_num_seqs=8, max_num_batched_tokens=2048, gpu_memory_utilization=0.5)
    if engine_refusal(model, variant, profile) or refusal(
        architecture, quantization, flags, profile, catalog.gpu("h100")
    ):
        return None
    rest: dict[str, Any] = {"pooling": True, "kv_cache_memory_bytes": 0} if task != "general" else {}
    return _server(variant.repository, dtype="auto", max_model_len=length, **rest)


def _server(repository: str, **changes: Any) -> ServerPlan:
    """Return a server of this checkpoint; what no option carries is left empty."""
    nothing = Ledger(
        baseline_bytes=0, weights_bytes=0, kv_cache_bytes=0, activation_bytes=0, non_torch_bytes=0, cuda_graph_bytes=0,
        margin_bytes=0,
    )  # fmt: skip
    unknown = Accuracy(
        scale="none", score=None, score_floor=None, recovery_median=None, recovery_floor=None, label="unknown",
        source="", score_source="",
    )  # fmt: skip
    plain = ServerPlan(
        name="role", role="role", task="general", model=repository, repository=repository, revision="", local=False,
        download_bytes=0, scheme="", dtype="bfloat16", kv_cache_dtype="auto", max_model_len=4096, max_num_seqs=8,
        max_num_batched_tokens=4096, tensor_parallel_size=1, gpu_indices=(0,), port=8001, gpu_memory_utilization=0.5,
        kv_cache_memory_bytes=8589934592, kv_cache_tokens=0, request_tokens=4096, concurrency_request=1,
        concurrency_full_context=1, accuracy=unknown, pooling=False, trust_remote_code=False, tool_parser="",
        reasoning_parser="", ledger=nothing,
    )  # fmt: skip
    return replace(plain, **changes)
