"""Other tools on the same rows: ask those installed in given environments, keep their answers, compare."""

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.memory_fidelity.predict import config_of, described, model
from benchmarks.memory_fidelity.score import TERMS, Pair, Statistics, errors, statistics
from benchmarks.memory_fidelity.table import FOLDER, Row
from planner.tensors.weights import Rank, parameter_bytes
from planner.units import GIB

ANSWERS = FOLDER / "peers.jsonl"
_SCRIPTS = sorted((FOLDER / "ask").glob("ask_*.py"))
_NOT_INSTALLED = 3
_TOKENS = next(term for term in TERMS if term.name == "KV cache tokens")


@dataclass(frozen=True, slots=True)
class Peer:
    """One tool's answers: row id to KV cache tokens; rows it has no answer for are absent."""

    name: str
    version: str
    tokens: Mapping[str, int]


def comparable(row: Row) -> bool:
    """Return whether every tool can be told what this row started: one replica, 16 bits, flags known, no adapters."""
    _, quantization = model(row.model, row.config)
    return (
        row.started
        and bool(row.kv_cache_tokens)
        and row.max_model_len is not None
        and row.gpu_memory_utilization is not None
        and row.runner != "v0"
        and row.pipeline_parallel_size == row.data_parallel_size == 1
        and (row.dtype, row.kv_cache_dtype) in (("auto", "auto"), ("bfloat16", "auto"))
        and quantization.method is None
        and not row.quantization
        and not row.in_use_gib
        and not row.max_loras
        and not row.compile_cache
        and not row.cpu_offload_gib
    )


def ask(rows: Sequence[Row], environments: Sequence[Path]) -> list[Peer]:
    """Return the answers of every tool found in the environments (folders with ``bin/python``)."""
    with tempfile.TemporaryDirectory() as folder:
        question = json.dumps([_case(row, Path(folder) / f"m{number}") for number, row in enumerate(rows)])
        found = [_answers(script, home, question) for home in environments for script in _SCRIPTS]
    return sorted((peer for peer in found if peer), key=lambda peer: peer.name)


def _case(row: Row, home: Path) -> dict[str, Any]:
    server, gpu, _ = described(row)
    _, config = config_of(row.model, row.config)
    home.mkdir()
    (home / "config.json").write_text(json.dumps(_served(config)), encoding="utf-8")
    return {
        "id": row.id,
        "model": row.model,
        "folder": str(home),
        "parameters": parameter_bytes(server.architecture, server.quantization, Rank()) // 2,
        "gpu": row.gpu,
        "memory_gib": gpu.memory_bytes / GIB,
        "utilization": server.flags.gpu_memory_utilization,
        "ranks": server.flags.tensor_parallel_size,
        "context": server.flags.max_model_len,
        "sequences": server.flags.max_num_seqs,
        "batched_tokens": server.flags.max_num_batched_tokens,
    }


def _served(config: dict[str, Any]) -> dict[str, Any]:
    # The dtype the engine served it in, which for checkpoints in 32 bits is not the one they are stored in.
    served = {key: _served(value) if key == "text_config" else value for key, value in config.items()}
    return served | dict.fromkeys(config.keys() & {"dtype", "torch_dtype"}, "bfloat16")


def _answers(script: Path, home: Path, question: str) -> Peer | None:
    command = [str((home / "bin" / "python").absolute()), "-I", str(script)]
    done = subprocess.run(command, input=question, capture_output=True, text=True, check=False)
    if done.returncode == _NOT_INSTALLED:
        return None
    if done.returncode != 0:
        raise RuntimeError(f"{script.name} in {home}: {done.stderr.strip()[-2000:]}")
    answer = json.loads(done.stdout)
    tokens = {key: value for key, value in answer["tokens"].items() if value is not None}
    return Peer(answer["peer"], answer["version"], tokens)


def keep(peers: Sequence[Peer], path: Path = ANSWERS) -> None:
    """Write the answers, one tool per line."""
    lines = [json.dumps({"peer": peer.name, "version": peer.version, "tokens": peer.tokens}) for peer in peers]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def kept(path: Path = ANSWERS) -> list[Peer]:
    """Return the answers kept from the last time the tools were asked."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Peer(data["peer"], data["version"], data["tokens"]) for data in map(json.loads, lines)]


def table(pairs: Sequence[Pair], peers: Sequence[Peer]) -> str:
    """Return the error in KV cache tokens of each tool, and of this one on the rows that tool answers.

    Rows that none of them answers were added since they were asked, or are beyond them all.
    """
    answered_once = {name for peer in peers for name in peer.tokens}
    rows = [pair for pair in pairs if comparable(pair[0]) and pair[0].id in answered_once]
    lines = [
        "| tool | answers | mean abs % | p95 % | over-promised by > 1 % | ours on the same rows: mean abs % | over |",
        "|---|---|---|---|---|---|---|",
    ]
    for peer in peers:
        answered = [pair for pair in rows if pair[0].id in peer.tokens]
        theirs = statistics([_error(row, peer.tokens[row.id]) for row, _ in answered])
        ours = statistics(errors(_TOKENS, answered))
        if theirs and ours:
            lines.append(f"| {peer.name} {peer.version} | {theirs.count} of {len(rows)} | {_line(theirs, ours)} |")
    return "\n".join(lines)


def _line(theirs: Statistics, ours: Statistics) -> str:
    figures = (f"{theirs.mean:.1f}", f"{theirs.p95:.1f}", f"{theirs.over_promised:.0f} %")
    return " | ".join((*figures, f"{ours.mean:.2f}", f"{ours.over_promised:.0f} %"))


def _error(row: Row, tokens: int) -> float:
    measured = _TOKENS.measured(row)
    assert measured, row.id
    return 100.0 * (tokens / measured - 1.0)
