"""The measured start-ups: one JSON object per line in ``measured.jsonl``, absent keys mean not known."""

import csv
import hashlib
import json
from dataclasses import dataclass, field, fields
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One start-up: what was started, what the engine logged, and where that is published.

    ``config`` names a file in ``configs/`` where the catalog does not have the model. ``informs`` marks rows that a
    constant of the engine profiles quotes as its source; they count as fitted. ``runner`` is ``v0`` where the older
    engine core was chosen. ``quantization`` names what an unquantized checkpoint was turned into while loading.
    ``compile_cache`` is cold or warm, or empty where nobody says. Sizes in GiB per GPU as logged. ``outcome``: started,
    or why not.
    """

    id: str
    source: str
    kind: str
    model: str
    gpu: str
    version: str
    outcome: str
    config: str = ""
    informs: bool = False
    runner: str = ""
    total_gib: float | None = None
    in_use_gib: float = 0.0
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    expert_parallel: bool = False
    dtype: str = "auto"
    quantization: str = ""
    kv_cache_dtype: str = "auto"
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    gpu_memory_utilization: float | None = None
    enforce_eager: bool = False
    prefix_caching: bool | None = None
    compile_cache: str = ""
    max_loras: int = 0
    max_lora_rank: int = 16
    language_model_only: bool = False
    mm_limits: dict[str, int] = field(default_factory=dict)
    cpu_offload_gib: float = 0.0
    weights_gib: float | None = None
    activation_gib: float | None = None
    non_torch_gib: float | None = None
    cuda_graph_gib: float | None = None
    kv_cache_gib: float | None = None
    kv_cache_tokens: int | None = None
    concurrency: float | None = None

    @property
    def started(self) -> bool:
        """Whether the server came up."""
        return self.outcome == "started"

    @property
    def publication(self) -> str:
        """Where the row was published, without the place inside it: rows of one publication share a machine."""
        return self.source.split(" (")[0].split("#")[0] if "/" in self.source.split(" ")[0] else self.source

    @property
    def fitted(self) -> bool:
        """Whether the row may have influenced a constant or a range: named as a source, or in the fitted half.

        The halves are split by what was started, so that repeated starts of one server stay together.
        """
        case = f"{self.model}|{self.gpu}|{self.version}|{self.tensor_parallel_size}|{self.pipeline_parallel_size}"
        return self.informs or hashlib.sha256(case.encode()).digest()[0] % 2 == 0


def rows(path: Path = FOLDER / "measured.jsonl") -> list[Row]:
    """Return all measured start-ups, in file order."""
    known = {field.name for field in fields(Row)}
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        data = json.loads(line)
        if unknown := data.keys() - known:
            raise ValueError(f"{path.name}:{number}: unknown keys {sorted(unknown)}")
        found.append(Row(**data))
    return found


def dropped(path: Path = FOLDER / "dropped.csv") -> list[dict[str, str]]:
    """Return the start-ups that are not a test of this model, each with ``id``, ``reason`` and ``source``."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
