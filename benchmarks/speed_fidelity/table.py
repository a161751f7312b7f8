"""The measured servers: one per line in ``measured.csv``, where empty means not known."""

import csv
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One server under one load: alike requests, ``concurrency`` users who each send the next as the last one ends.

    Figures are means where a source has them, else medians; flags that are not known take the engine's defaults.
    """

    source: str
    model: str
    gpu: str
    tensor_ranks: int
    stages: int
    data_ranks: int
    expert_parallel: bool
    version: str
    input_tokens: int
    output_tokens: int
    concurrency: int
    eager: bool
    kv_cache_dtype: str
    max_num_seqs: int | None
    max_num_batched_tokens: int | None
    tpot_ms: float | None
    ttft_ms: float | None
    output_tokens_per_s: float | None

    @property
    def origin(self) -> str:
        """What is left out together when a source is: a publication, and of the two large ones each model."""
        several = self.source in ("inferencex", "gap-analysis")
        return f"{self.source} {self.model.rpartition('/')[2]}" if several else self.source


def rows(path: Path = FOLDER / "measured.csv") -> list[Row]:
    """Return all measured servers, in file order."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [_row(line) for line in csv.DictReader(stream)]


def listed(name: str) -> list[dict[str, str]]:
    """Return the lines of ``sources.csv`` or ``dropped.csv``."""
    with (FOLDER / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _row(line: dict[str, str]) -> Row:
    return Row(
        source=line["source"],
        model=line["model"],
        gpu=line["gpu"],
        tensor_ranks=int(line["tensor_ranks"]),
        stages=int(line["stages"] or 1),
        data_ranks=int(line["data_ranks"] or 1),
        expert_parallel=bool(line["expert_parallel"]),
        version=line["version"],
        input_tokens=int(line["input_tokens"]),
        output_tokens=int(line["output_tokens"]),
        concurrency=int(line["concurrency"]),
        eager=bool(line["eager"]),
        kv_cache_dtype=line["kv_cache_dtype"],
        max_num_seqs=int(line["max_num_seqs"]) if line["max_num_seqs"] else None,
        max_num_batched_tokens=int(line["max_num_batched_tokens"]) if line["max_num_batched_tokens"] else None,
        tpot_ms=_figure(line["tpot_ms"]),
        ttft_ms=_figure(line["ttft_ms"]),
        output_tokens_per_s=_figure(line["output_tokens_per_s"]),
    )


def _figure(text: str) -> float | None:
    return float(text) if text else None
