"""The benchmark's result as Markdown: the page docs/accuracy-of-estimates.md and what the command prints."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from benchmarks.memory_fidelity.score import TERMS, Pair, confusion, coverage, covered, errors, statistics
from benchmarks.memory_fidelity.table import Row


def terms_table(pairs: Sequence[Pair]) -> str:
    """Return the errors per term."""
    lines = [
        "| term | rows | mean abs % | median % | p95 % | over-promised by > 1 % |",
        "|---|---|---|---|---|---|",
    ]
    for term in TERMS:
        if found := statistics(errors(term, pairs)):
            over = f"{found.over_promised:.0f} %" if term.promise else ""
            lines.append(
                f"| {term.name} | {found.count} | {found.mean:.2f} | {found.median:.2f} | {found.p95:.2f} | {over} |"
            )
    return "\n".join(lines)


def groups_table(title: str, pairs: Sequence[Pair], key: Callable[[Row], str]) -> str:
    """Return the error of the KV cache tokens by a property of the rows."""
    term = next(term for term in TERMS if term.name == "KV cache tokens")
    lines = [
        f"| {title} | rows | mean abs % | median % | p95 % | over-promised by > 1 % |",
        "|---|---|---|---|---|---|",
    ]
    for name in sorted({key(row) for row, _ in pairs}):
        found = statistics(errors(term, [pair for pair in pairs if key(pair[0]) == name]))
        if found:
            lines.append(
                f"| {name} | {found.count} | {found.mean:.2f} | {found.median:.2f} | {found.p95:.2f} "
                f"| {found.over_promised:.0f} % |"
            )
    return "\n".join(lines)


def verdict_table(pairs: Sequence[Pair]) -> str:
    """Return how often the start-up verdict was right."""
    table = confusion(pairs)
    lines = ["| measured | predicted to start | predicted to fail |", "|---|---|---|"]
    for measured, name in ((True, "started"), (False, "failed")):
        lines.append(f"| {name} | {len(table[measured, True])} | {len(table[measured, False])} |")
    return "\n".join(lines)


def coverage_line(pairs: Sequence[Pair]) -> str:
    """Return how many measured KV caches lie inside the stated range."""
    inside, total = covered(pairs)
    return f"{inside} of {total} logged KV caches lie inside the stated range." if total else ""


def coverage_table(pairs: Sequence[Pair], eras: Sequence[tuple[str, Callable[[Row], bool]]]) -> str:
    """Return how the stated ranges held, era by era."""
    lines = [
        "| engine | rows | sources | inside | 95 % need, of the stated width | inside a width from other sources |",
        "|---|---|---|---|---|---|",
    ]
    for name, belongs in eras:
        if found := coverage([pair for pair in pairs if belongs(pair[0])]):
            lines.append(
                f"| {name} | {found.rows} | {found.sources} | {found.inside} | {found.needed:.2f} "
                f"| {found.inside_unseen} |"
            )
    return "\n".join(lines)


def dropped_table(dropped: Iterable[dict[str, str]]) -> str:
    """Return the reasons for which start-ups were left out, with their counts."""
    counts = Counter(entry["reason"] for entry in dropped)
    lines = ["| rows | left out because |", "|---|---|"]
    lines += [
        f"| {count} | {reason} |" for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    return "\n".join(lines)


def worst_rows(pairs: Sequence[Pair], count: int) -> list[str]:
    """Return the rows with the largest error in KV tokens, worst first."""
    term = next(term for term in TERMS if term.name == "KV cache tokens")
    ranked = [(values[0], pair[0]) for pair in pairs if (values := errors(term, [pair]))]
    ranked.sort(key=lambda item: (-abs(item[0]), item[1].id))
    return [
        f"{error:+.1f} % {row.model} on {row.tensor_parallel_size} x {row.gpu}, vLLM {row.version} ({row.source})"
        for error, row in ranked[:count]
    ]
