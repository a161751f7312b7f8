"""Add the answers of one engine version to the record: ``python -m benchmarks.attention_backends ANSWERS``."""

import argparse
import json
from pathlib import Path

from benchmarks.attention_backends.record import add, read, write


def main() -> None:
    """Put what probe.py printed into verdicts.jsonl."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attention_backends", description=__doc__)
    parser.add_argument("answers", type=Path, nargs="+")
    record = read()
    for path in parser.parse_args().answers:
        record = add(record, [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
    write(record)


if __name__ == "__main__":
    main()
