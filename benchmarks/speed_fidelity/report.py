"""Tables in Markdown from rows and what is said about them."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

from benchmarks.speed_fidelity.predict import Asked, Pair
from benchmarks.speed_fidelity.rooflines import ROOFLINES
from benchmarks.speed_fidelity.score import OUTPUT, TPOT, TTFT, Statistics, by, quantile, statistics
from planner.speed.constants import Spreads

_HEAD = (
    "| {name} | TPOT: rows | median % | p90 % | bias | inside % | TTFT: median % | p90 % | inside % "
    "| tokens/s: median % | p90 % | inside % |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
)
_NUMBER = re.compile(r"\d[\d.,]*")


def table(name: str, pairs: Sequence[Pair], key: Callable[[Pair], str], order: Sequence[str] = ()) -> str:
    """Return the errors of every group of rows, by name or in an order, and of all."""
    groups = by(pairs, key)
    lines = [_line(group, groups[group]) for group in order or groups if group in groups]
    if len(groups) > 1:
        lines.append(_line("**all**", pairs))
    return "\n".join([_HEAD.format(name=name), *(line for line in lines if line)])


def _line(group: str, pairs: Sequence[Pair]) -> str:
    tpot, ttft, output = (statistics(term, pairs) for term in (TPOT, TTFT, OUTPUT))
    if tpot is None and output is None:
        return ""
    rows = tpot.rows if tpot else 0
    bias = f"{tpot.bias:.2f}" if tpot else ""
    median, p90, inside = _figures(tpot)
    cells = (group, str(rows), median, p90, bias, inside, *_figures(ttft), *_figures(output))
    return f"| {' | '.join(cells)} |"


def _figures(own: Statistics | None) -> tuple[str, str, str]:
    return (f"{own.median:.1f}", f"{own.p90:.0f}", f"{own.inside:.0f}") if own else ("", "", "")


def peers(asked: Sequence[Asked], pairs: Sequence[Pair]) -> str:
    """Return the error in TPOT of plain rooflines, on the rows that are answered."""
    answered = [(own, pair) for own, pair in zip(asked, pairs, strict=True) if pair.said.tpot_us and own.row.tpot_ms]
    lines = ["| predictor | rows | median % | p90 % | bias |", "|---|---|---|---|---|"]
    for roofline in ROOFLINES:
        ratios = [
            value / own.row.tpot_ms for own, _ in answered if own.row.tpot_ms and (value := roofline.tpot_ms(own))
        ]
        lines.append(_ratio_line(roofline.name, ratios))
    ours = [
        pair.said.tpot_us.value / 1000 / own.row.tpot_ms
        for own, pair in answered
        if pair.said.tpot_us and own.row.tpot_ms
    ]
    return "\n".join([*lines, _ratio_line("this planner", ours)])


def _ratio_line(name: str, ratios: list[float]) -> str:
    errors = sorted(abs(ratio - 1) for ratio in ratios)
    median, p90 = 100 * quantile(errors, 0.5), 100 * quantile(errors, 0.9)
    return f"| {name} | {len(ratios)} | {median:.1f} | {p90:.0f} | {quantile(sorted(ratios), 0.5):.2f} |"


def refusals(pairs: Sequence[Pair]) -> str:
    """Return why nothing is said of some rows, numbers left out, with their counts."""
    counts = Counter(_NUMBER.sub("N", pair.said.reason).split(":")[-1].strip() for pair in pairs if pair.said.reason)
    return _counted("nothing is said because", counts)


def dropped(lines: Sequence[dict[str, str]]) -> str:
    """Return why measurements are no rows, with their counts."""
    counts: Counter[str] = Counter()
    for line in lines:
        counts[line["reason"]] += int(line["rows"])
    return _counted("left out because", counts)


def _counted(name: str, counts: Counter[str]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "\n".join([f"| rows | {name} |", "|---|---|", *(f"| {count} | {reason} |" for reason, count in ordered)])


def sources(lines: Sequence[dict[str, str]], pairs: Sequence[Pair]) -> str:
    """Return the sources that have rows, with what is to be known of them."""
    counts = Counter(pair.row.source for pair in pairs)
    found = [line for line in lines if counts[line["source"]]]
    rows = [
        f"| {line['source']} | {counts[line['source']]} | {line['publication']} | {line['remark']} |" for line in found
    ]
    return "\n".join(["| source | rows | published in | remark |", "|---|---|---|---|", *rows])


def ranges(spreads: Sequence[Spreads]) -> str:
    """Return ranges as lines of ``catalog/speed/engine.yaml``."""
    return "\n".join(
        f"  - {{prefill_share: {own.prefill_share:.2f}, grade: {own.grade}, "
        f"tpot: [{own.tpot.low}, {own.tpot.high}], ttft: [{own.ttft.low}, {own.ttft.high}], "
        f"throughput: [{own.throughput.low}, {own.throughput.high}], source: range}}"
        for own in spreads
    )
