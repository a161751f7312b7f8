"""Other tools on the measured rows: asked in their own environments, with answers kept."""

import sys
from pathlib import Path

from benchmarks.memory_fidelity import peers
from benchmarks.memory_fidelity.predict import predict
from benchmarks.memory_fidelity.table import Row, rows


def environment(folder: Path, script: str) -> Path:
    """Make a folder whose ``bin/python`` runs a shell script with the name of the asking script in ``$2``."""
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "python"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    return folder


def comparable() -> list[Row]:
    return [row for row in rows() if peers.comparable(row)]


def test_only_tools_that_are_installed_answer(tmp_path: Path) -> None:
    row = comparable()[0]
    home = environment(
        tmp_path / "environment",
        f"""case "$2" in
*/ask_llmfit.py) echo '{{"peer": "llmfit", "version": "1", "tokens": {{"{row.id}": 7, "other": null}}}}' ;;
*) exit 3 ;;
esac""",
    )

    assert peers.ask([row], [home]) == [peers.Peer("llmfit", "1", {row.id: 7})]


def test_an_environment_without_any_of_the_tools_gives_no_answer(tmp_path: Path) -> None:
    home = environment(tmp_path / "environment", f'exec "{sys.executable}" "$@"')

    assert peers.ask(comparable()[:1], [home]) == []


def test_answers_are_kept_as_given(tmp_path: Path) -> None:
    given = [peers.Peer("llmfit", "1", {"a": 7}), peers.Peer("vllm-wizard", "2", {})]
    peers.keep(given, tmp_path / "peers.jsonl")

    assert peers.kept(tmp_path / "peers.jsonl") == given


def test_errors_count_only_the_rows_a_tool_answers() -> None:
    row = comparable()[0]
    assert row.kv_cache_tokens
    text = peers.table([(row, predict(row))], [peers.Peer("tool", "1", {row.id: row.kv_cache_tokens * 2})])

    assert "| tool 1 | 1 of 1 | 100.0 | 100.0 | 100 % |" in text
    assert peers.table([(row, predict(row))], [peers.Peer("tool", "1", {})]).count("\n") == 1


def test_kept_answers_are_for_rows_that_can_be_compared() -> None:
    known = {row.id for row in comparable()}

    assert {name for peer in peers.kept() for name in peer.tokens} <= known
