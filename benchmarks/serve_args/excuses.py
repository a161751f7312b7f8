"""Refusals that are due to where the engine was asked, by what they say: ``reasons.csv``."""

import csv
from pathlib import Path

PATH = Path(__file__).resolve().parent / "reasons.csv"


def reasons() -> dict[str, str]:
    """Return why a refusal that holds a text does not count, by that text."""
    with PATH.open(encoding="utf-8", newline="") as file:
        return {row["refusal"]: row["reason"] for row in csv.DictReader(file)}


def excused(refusal: str) -> bool:
    """Say whether a refusal is due to where the engine was asked."""
    return any(text in refusal for text in reasons())
