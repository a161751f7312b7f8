"""Run the benchmark: ``python -m benchmarks.speed_fidelity [--write] [--rows] [--fit] [--left-out] [--ranges]``."""

import argparse
from pathlib import Path

from benchmarks.speed_fidelity import fit, left_out, page, report
from benchmarks.speed_fidelity.predict import Pair, asked, predict
from benchmarks.speed_fidelity.score import TERMS, calibrated
from benchmarks.speed_fidelity.table import rows

PAGE = Path(__file__).resolve().parents[2] / "docs" / "accuracy-of-speed.md"


def main() -> None:
    """Print the result, or write it into the docs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed_fidelity", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.parent.name}/{PAGE.name}")
    parser.add_argument("--rows", action="store_true", help="print every row: measured and predicted")
    parser.add_argument("--fit", action="store_true", help="print the engine's constants that fit the rows best")
    parser.add_argument(
        "--ranges", action="store_true", help="print the ranges that hold 80 %% of the rows, each left out"
    )
    parser.add_argument("--left-out", action="store_true", help="fit the constants once without each origin")
    arguments = parser.parse_args()
    cases = [asked(row) for row in rows()]
    if arguments.fit:
        print(fit.constants(fit.fitted(cases, fit.shipped())))
        return
    if arguments.left_out:
        left_out.refit(cases)
    pairs = [predict(own) for own in cases]
    if arguments.ranges:
        unseen = [pair for pair in left_out.told(cases, pairs) if pair.row.source not in fit.SPOILT]
        print(report.ranges(calibrated(unseen)))
    elif arguments.rows:
        print("\n".join(map(line, pairs)))
    elif arguments.write:
        PAGE.write_text(page.text(cases, pairs), encoding="utf-8")
    else:
        print(page.text(cases, pairs))


def line(pair: Pair) -> str:
    """Return one row: what was run, then each figure measured and predicted, or why nothing is said."""
    row, said = pair.row, pair.said
    name = f"{row.origin} {row.tensor_ranks} x {row.gpu} {row.version} {row.input_tokens}/{row.output_tokens}"
    parts = [f"{name} at {row.concurrency}"]
    for term in TERMS:
        measured, own = term.measured(row), term.said(said)
        if measured and own:
            parts.append(f"{term.name} {measured / 1000:.4g} / {own.value / 1000:.4g}")
    return " | ".join([*parts, said.reason or ""])


if __name__ == "__main__":
    main()
