"""Print how far estimates are off before and after half of a machine's start-ups were learnt from."""

from benchmarks.calibration.halves import Pair, machines, middle, pairs

# A machine is off where the median of its start-ups is: there is something to learn there.
_OFF_PERCENT = 0.3


def main() -> None:
    """Print the table of README.md."""
    groups = machines()
    off = [group for group in groups if middle(pair.before for pair in pairs([group])) > _OFF_PERCENT]
    print("| machines | start-ups | median before | after | mean before | after | inside |")
    print("|---|---|---|---|---|---|---|")
    print(_line(f"all {len(groups)}", list(pairs(groups))))
    print(_line(f"{len(off)} that are off by more than {_OFF_PERCENT} %", list(pairs(off))))


def _line(name: str, found: list[Pair]) -> str:
    before, after = [pair.before for pair in found], [pair.after for pair in found]
    means = [sum(values) / len(found) for values in (before, after)]
    figures = (middle(before), middle(after), *means)
    inside = sum(pair.inside for pair in found)
    return f"| {name} | {len(found)} | {' | '.join(f'{value:.2f} %' for value in figures)} | {inside} of {len(found)} |"


if __name__ == "__main__":
    main()
