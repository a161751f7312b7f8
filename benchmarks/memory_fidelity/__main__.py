"""Run the benchmark: ``python -m benchmarks.memory_fidelity [--write] [--rows] [--peers DIR]``."""

import argparse
from pathlib import Path

from benchmarks.memory_fidelity import page, peers, report
from benchmarks.memory_fidelity.predict import predict
from benchmarks.memory_fidelity.score import TERMS, Pair
from benchmarks.memory_fidelity.table import dropped, rows

PAGE = Path(__file__).resolve().parents[2] / "docs" / "accuracy-of-estimates.md"


def main() -> None:
    """Print the result, or write it into the docs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory_fidelity", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.parent.name}/{PAGE.name}")
    parser.add_argument("--rows", action="store_true", help="print every row: measured and predicted")
    parser.add_argument(
        "--peers", nargs="+", type=Path, metavar="DIR", help="ask the other tools installed in these environments again"
    )
    arguments = parser.parse_args()
    pairs = [(row, predict(row)) for row in rows()]
    if arguments.peers:
        peers.keep(peers.ask([row for row, _ in pairs if peers.comparable(row)], arguments.peers))
    if arguments.rows:
        print("\n".join(line(pair) for pair in pairs))
        return
    text = page.text(pairs, dropped())
    if arguments.write:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text)
        print("\n".join(report.worst_rows(pairs, 12)))


def line(pair: Pair) -> str:
    """Return one row: its id, then each term measured and predicted."""
    row, result = pair
    parts = [f"{row.id} {'fit' if row.fitted else 'held-out'}"]
    for term in TERMS:
        measured = term.measured(row)
        if measured is not None:
            parts.append(f"{term.name} {measured:g} / {term.predicted(result):.5g}")
    parts.append(f"{row.outcome} / {'started' if result.starts else result.reason}")
    return " | ".join(parts)


if __name__ == "__main__":
    main()
