"""Record the engines' verdicts: ``python -m benchmarks.serve_args questions VERSION | record VERSION ANSWERS``."""

import argparse
import json
from pathlib import Path

from benchmarks.serve_args.lines import checkpoint_lines, lines, pinned_lines, question, refused_lines, versions
from benchmarks.serve_args.verdicts import read, record, write


def main() -> None:
    """Print the questions for one version, or add its answers to the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve_args", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    asking = commands.add_parser("questions", help="print what to ask one version, for probe.py")
    asking.add_argument("version", choices=versions())
    recording = commands.add_parser("record", help="put what probe.py printed into verdicts.jsonl")
    recording.add_argument("version", choices=versions())
    recording.add_argument("answers", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "questions":
        version = arguments.version
        for line in (*lines(version), *pinned_lines(version), *checkpoint_lines(version), *refused_lines()):
            print(json.dumps(question(line)))
        return
    answers = [json.loads(answer) for answer in arguments.answers.read_text(encoding="utf-8").splitlines()]
    write(record(read(), arguments.version, answers))


if __name__ == "__main__":
    main()
