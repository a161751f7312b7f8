"""The text of docs/accuracy-of-estimates.md around the measured tables."""

from collections.abc import Callable, Sequence

from benchmarks.memory_fidelity import peers, report
from benchmarks.memory_fidelity.predict import model
from benchmarks.memory_fidelity.score import Pair
from benchmarks.memory_fidelity.table import Row
from planner.config_json.quantization_config import while_loading
from planner.engine.versions import parse_version

_HEAD = """# How accurate is it

This page is written by `python -m benchmarks.memory_fidelity --write` from {rows} measured start-ups of real vLLM
servers ({models} models, {gpus} GPU types, {versions} engine versions). `benchmarks/memory_fidelity/measured.jsonl`
holds the figures with their sources, `dropped.csv` the start-ups that are no test of this model, with the reason.

Percentages are (predicted / measured - 1). Over-promising is what hurts: it is counted apart. Rows that a constant
quotes as its source, and the half of all servers picked by a hash, count as fitted; the rest is held out. No constant
was adjusted to held-out rows, but their publishers and models overlap with the fitted ones.
"""

_MECHANISM = """## Where the activation peak comes from

vLLM runs one batch of `max_num_batched_tokens` (T) before it sizes the KV cache, then samples for
`max_num_seqs` (S, at most T) sequences. The larger peak counts. With h the hidden size, I the intermediate size per
GPU, V the vocabulary and b the bytes of the dtype:

- **Layers**: `T × b × (3 h + w)`, where w is the widest moment inside a layer: `3 I` around a gated activation, or the
  fused query, key and value with their rotated copies.
- **Compiling**, on a start with a cold compile cache: from 0.12 kernels are timed on random copies of what they read,
  the embedding among them, `V × h × b + 2 × T × h × b` (V per GPU; models that take images look tokens up elsewhere).
  Up to 0.26 timing also takes one L2 cache beside the layers. From 0.27 the copy may stay counted after the profile.
- **Sampler**: `T × h × b + S × h × b × k + S × V × c`. Up to 0.16 the vocabulary is sorted: c = b + 4 + 32 bytes per
  logit (values, 64-bit positions, and the double buffers of a segmented sort); c = b + 4 + 8 to 0.11 where FlashInfer
  is installed. From 0.17 a kernel filters in place:
  c = b + 4 + 8, and 4 V bytes per multiprocessor. From 0.22 FlashInfer filters: c = b + 4 + 8. The second model runner
  sampled greedily in its profile until 0.32: c = b + 4, later b; from 0.33 it is profiled with all parameters.
- **Beside both**: cuBLAS's workspace (32 MiB from compute capability 9.0, else 8), the experts' buffers
  `T × k × b × (max(I, h) + max(2 I, h))` for k experts per token, and, with the second model runner, penalties:
  `S × V × 4.125` bytes.

The slopes in S and T rest on source reading and on the spread of models (vocabularies 32k to 262k, hidden sizes 768 to
16384); no published series varies S or T alone.
"""

_RANGES = """## Do the ranges hold

A range is what each term may be off by: weights by 0.25 %, CUDA graphs inside the budget by half, a fixed part per
engine era, device and further GPU, and for vision models, mixtures and recurrent layers 5 % of the activation. From 0.8
to 0.11 the upper end is that of FlashInfer's sampler: it runs where FlashInfer is installed, as in the official images,
and the lower end is that of the wheel, which sorts. Whatever `--compile-cache` says, the upper end is a start that
finds its kernels compiled, and the lower end one that compiles them and, from 0.27, keeps the copy of the embedding.
Where memory is shared with the host, what the host takes meanwhile counts: 13 GiB on the low side. The upper end is
that of the largest card of a name, of GPUs that cannot reach each other (NCCL inside the budget, to 0.10), and 4.7 %
more where no log shows the total; a checkpoint whose config was not seen may be as large as its format allows. Plans
set aside the lower end of what a server needs, not what is merely counted.

The last column asks what the table would say of servers nobody has seen: each publication's rows are judged by ranges
as wide as the other publications of that era need for 95 %.
"""

_ERAS = (
    ("0.6 to 0.9.0", "0.0", "0.9.1"),
    ("0.9.1 to 0.11", "0.9.1", "0.12"),
    ("0.12 to 0.19", "0.12", "0.20"),
    ("0.20 to 0.26", "0.20", "0.27"),
    ("from 0.27", "0.27", "99.0"),
    ("all", "0.0", "99.0"),
)

_PEERS = """## Other tools on the same rows

The KV cache in tokens, on the rows every tool can be told and one of them answers: one replica, 16-bit weights, memory
per GPU and flags known.
Each tool gets the model's config.json (llmfit: its name), the memory the engine saw, the utilization and the flags it
has a parameter for; what it cannot size is no answer. `--peers` asks those installed in the given environments again
and keeps their answers in `peers.jsonl`. Most rows are fitted ones, for us as for llm-d-planner, whose constants come
from the same H100 runs. None of them tells versions apart; aiconfigurator's data is for vLLM 0.24, on the A100 0.14.
"""


def text(pairs: Sequence[Pair], dropped: Sequence[dict[str, str]]) -> str:
    """Return the whole page."""
    held_out = [pair for pair in pairs if not pair[0].fitted]
    fitted = [pair for pair in pairs if pair[0].fitted]
    sweep = [pair for pair in held_out if _is_sweep(pair[0])]
    others = [pair for pair in held_out if not _is_sweep(pair[0])]
    rows = [pair[0] for pair in pairs]
    sections = [
        _HEAD.format(
            rows=len(rows),
            models=len({row.model for row in rows}),
            gpus=len({row.gpu for row in rows}),
            versions=len({row.version for row in rows}),
        ),
        "## Held out: H100, vLLM 0.19\n",
        report.terms_table(sweep),
        report.coverage_line(sweep),
        "## Held out: everything else\n",
        report.terms_table(others),
        report.coverage_line(others),
        "## Fitted\n",
        report.terms_table(fitted),
        report.coverage_line(fitted),
        "## KV cache tokens, all rows\n",
        report.groups_table("kind", pairs, lambda row: row.kind),
        report.groups_table("weights", pairs, _scheme),
        report.groups_table("engine", pairs, _series),
        report.groups_table("GPU", pairs, lambda row: row.gpu),
        "## Does it start\n",
        report.verdict_table(pairs),
        "The largest errors:\n",
        "\n".join(f"- {line}" for line in report.worst_rows(pairs, 8)),
        _RANGES,
        report.coverage_table(pairs, [(name, _between(since, before)) for name, since, before in _ERAS]),
        _PEERS,
        "All rows:\n",
        peers.table(pairs, peers.kept()),
        "Held out:\n",
        peers.table(held_out, peers.kept()),
        _MECHANISM,
        "## Rows left out\n",
        report.dropped_table(dropped),
    ]
    return "\n\n".join(section.strip() for section in sections if section) + "\n"


def _is_sweep(row: Row) -> bool:
    return row.version.startswith("0.19") and "H100" in row.gpu


def _between(since: str, before: str) -> Callable[[Row], bool]:
    low, high = parse_version(since), parse_version(before)
    return lambda row: low <= parse_version(row.version) < high


def _scheme(row: Row) -> str:
    stored = while_loading(row.quantization) if row.quantization else model(row.model, row.config)[1]
    return stored.scheme


def _series(row: Row) -> str:
    return ".".join(row.version.split(".")[:2])
