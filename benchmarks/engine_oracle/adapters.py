"""Adapter buffers (LoRA): which models are asked about, and the engine's answers beside the planner's."""

import csv
from collections.abc import Iterable, Iterator
from typing import Any

from benchmarks.engine_oracle.cases import FOLDER, architecture_of, cases
from planner.catalog import load_catalog
from planner.engine.adapters import adapter_classes, since
from planner.engine.flags import ServeFlags
from planner.engine.profile import load_profile
from planner.memory.lora import lora_tensors

ENGINE = "0.32.0"
SLOTS, RANK = 4, 64
TABLE = FOLDER / "adapters.csv"
_LARGER = "meta-llama/Llama-3.1-8B-Instruct"
_SPLIT = (
    _LARGER, "Qwen/Qwen3-30B-A3B", "deepseek-ai/DeepSeek-V3.2", "openai/gpt-oss-20b", "Qwen/Qwen3.5-0.8B",
    "ibm-granite/granite-4.0-h-micro", "Qwen/Qwen3-VL-2B-Instruct", "google/gemma-3-4b-it",
    "mistralai/Mixtral-8x7B-Instruct-v0.1",
)  # fmt: skip
_SHARDED = (_LARGER, "Qwen/Qwen3-30B-A3B", "deepseek-ai/DeepSeek-V3.2")


def adapter_cases() -> Iterator[dict[str, Any]]:
    """Yield a model of every class of the catalog on one GPU, and some on two, with both ways of sharing them out."""
    asked: dict[tuple[str, bool], dict[str, Any]] = {}
    for case in cases():
        key = case["config"]["architectures"][0], bool(case["pooling"])
        if case["tensor_parallel_size"] == 1 and "/" in case["id"] and key not in asked:
            asked[key] = case
    whole = {case["id"].rpartition("|")[0]: case for case in asked.values()}
    llama = load_catalog().find(_LARGER)[0]
    whole[_LARGER] = {**asked["LlamaForCausalLM", False], "config": dict(llama.config)}
    for name, case in whole.items():
        yield _case(name, case, 1)
    for name in _SPLIT:
        yield _case(name, whole[name], 2)
    for name in _SHARDED:
        yield _case(name, whole[name], 2, sharded=True)


def _case(name: str, case: dict[str, Any], ranks: int, *, sharded: bool = False) -> dict[str, Any]:
    options = {"enable_lora": True, "max_loras": SLOTS, "max_lora_rank": RANK, "fully_sharded_loras": sharded}
    return {
        **case,
        "id": f"{name}|tp{ranks}{'|sharded' if sharded else ''}",
        "tensor_parallel_size": ranks,
        "adapters": True,
        "options": {**case["options"], **options},
        "questions": [],
    }


def adapter_bytes(case: dict[str, Any]) -> int | None:
    """Return the bytes of a case's buffers by the planner; None where it says that the class takes no adapters."""
    architecture = architecture_of(case["id"], case["config"], pooling=case["pooling"])
    if not since(ENGINE, adapter_classes().takes, architecture.name):
        return None
    flags = ServeFlags(
        max_model_len=4096,
        max_num_seqs=1,
        max_num_batched_tokens=4096,
        gpu_memory_utilization=0.9,
        tensor_parallel_size=case["tensor_parallel_size"],
        max_loras=SLOTS,
        max_lora_rank=RANK,
        fully_sharded_loras=case["options"]["fully_sharded_loras"],
    )
    return sum(lora_tensors(architecture, flags, 2, load_profile(ENGINE)))


def write_adapters(answers: Iterable[dict[str, Any]]) -> None:
    """Write what the engine said: bytes, ``none`` for a class that takes no adapters, else why it says nothing."""
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("case", "engine_bytes", "error"))
        for answer in answers:
            error = str(answer.get("error", ""))
            none = error.endswith("does not support LoRA")
            table.writerow((answer["id"], "none" if none else answer.get("adapter_bytes", ""), "" if none else error))


def read_adapters() -> dict[str, str]:
    """Return what the engine said of each case that it could build."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {row["case"]: row["engine_bytes"] for row in csv.DictReader(file) if row["engine_bytes"]}
