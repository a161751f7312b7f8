"""The text of docs/accuracy-of-speed.md around the measured tables."""

from collections.abc import Sequence

from benchmarks.speed_fidelity import left_out, report
from benchmarks.speed_fidelity.predict import Asked, Pair, model
from benchmarks.speed_fidelity.table import listed

_HEAD = """# How accurate is the speed

This page is written by `python -m benchmarks.speed_fidelity --write` from {rows} public measurements of vLLM servers
({models} checkpoints, {gpus} GPU types, {sources} publications). `benchmarks/speed_fidelity/measured.csv` holds the
figures, `sources.csv` where they are published, `dropped.csv` what is no steady measurement of one server, with the
reason. [speed.md](speed.md) has the formulas.

Errors are |predicted / measured - 1|; bias is the median of predicted / measured; "inside" is the share of rows inside
the printed 80 % range. Tokens per second are those of the whole server; where a source does not state them they follow
from what each user waited. What kernels reach on a GPU comes from kernel measurements, not from these rows; the few
constants of the engine are fitted to them.
"""

_LEFT_OUT = """## Sources the constants have not seen

Every source (of the two large ones: every model) told by constants and ranges that were fitted without it.
"""

_PEERS = """## Plain rooflines on the same rows

Time per output token as bytes read over bandwidth, or operations over the 16-bit rate, whichever is longer, at the full
rates and at 70 % and 50 % of them. Both read the experts that are hit and the caches this planner counts.
"""

_BATCHES = ((1, "1"), (8, "2 to 8"), (32, "9 to 32"), (128, "33 to 128"), (1 << 30, "above 128"))
_SHARES = ((0.1, "below 0.10"), (0.25, "0.10 to 0.25"), (0.45, "0.25 to 0.45"), (1.0, "above"))


def text(asked: Sequence[Asked], pairs: Sequence[Pair]) -> str:
    """Return the whole page."""
    rows = [pair.row for pair in pairs]
    head = _HEAD.format(
        rows=len(rows),
        models=len({row.model for row in rows}),
        gpus=len({row.gpu for row in rows}),
        sources=len({row.source for row in rows}),
    )
    sections = [
        head,
        report.table("origin", pairs, lambda pair: pair.row.origin),
        _LEFT_OUT,
        report.table("origin", list(left_out.told(asked, pairs)), lambda pair: pair.row.origin),
        "## By GPU, format, load\n",
        report.table("GPU", pairs, lambda pair: pair.row.gpu),
        report.table("format", pairs, _scheme),
        report.table("requests at once", pairs, lambda pair: _class(pair.row.concurrency, _BATCHES), _names(_BATCHES)),
        report.table("share of prompts", pairs, lambda pair: _class(pair.said.prefill_share, _SHARES), _names(_SHARES)),
        report.table("GPUs", pairs, lambda pair: str(pair.row.tensor_ranks)),
        report.table("evidence", pairs, lambda pair: pair.said.grade or "none"),
        _PEERS,
        report.peers(asked, pairs),
        "## Where nothing is said\n",
        report.refusals(pairs),
        "## Sources\n",
        report.sources(listed("sources.csv"), pairs),
        "## Measurements left out\n",
        report.dropped(listed("dropped.csv")),
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _scheme(pair: Pair) -> str:
    return model(pair.row.model)[1].scheme


def _class(value: float, classes: Sequence[tuple[float, str]]) -> str:
    """Return the first class that a value does not exceed."""
    return next(name for most, name in classes if value <= most)


def _names(classes: Sequence[tuple[float, str]]) -> list[str]:
    return [name for _, name in classes]
