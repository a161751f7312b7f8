"""Every command line that the artifacts hold was put to the real parser and rules of its engine version, and accepted.

``benchmarks/serve_args`` asks the engines and records what they say.
"""

from collections.abc import Iterator

import pytest

from benchmarks.serve_args.excuses import excused, reasons
from benchmarks.serve_args.lines import (
    ROOT,
    SETTLED,
    checkpoint_lines,
    example_commands,
    lines,
    pinned_lines,
    refused_lines,
    versions,
)
from benchmarks.serve_args.verdicts import read
from planner.artifacts.read_back import Command

RECORDED = read()
HINT = "ask the engine: benchmarks/serve_args/README.md"


def commands() -> Iterator[Command]:
    for version in versions():
        yield from example_commands(version)


@pytest.mark.parametrize("version", versions())
def test_every_line_was_asked_and_accepted(version: str) -> None:
    unasked = [line for line in lines(version) if version not in RECORDED.get(line, {})]
    assert not unasked, f"{len(unasked)} lines are not recorded for {version}; {HINT}"
    assert {line.line: RECORDED[line][version] for line in lines(version) if RECORDED[line][version]} == {}


@pytest.mark.parametrize("version", versions())
def test_pins_of_the_engine_were_asked_and_accepted(version: str) -> None:
    """Older versions may not have been asked about those that came later."""
    planned = pinned_lines(version)
    said = [RECORDED[line][version] for line in planned if version in RECORDED.get(line, {})]
    assert version != versions()[-1] or len(said) == len(planned), HINT
    assert [why for why in said if why] == []


@pytest.mark.parametrize("version", versions())
def test_checkpoints_of_the_catalog_were_asked_and_accepted(version: str) -> None:
    """Those added to the catalog since then are not in the record yet."""
    planned = checkpoint_lines(version)
    said = [RECORDED[line][version] for line in planned if version in RECORDED.get(line, {})]
    assert len(said) > 0.8 * len(planned), HINT
    assert [why for why in said if why and not excused(why)] == []


@pytest.mark.parametrize("version", versions())
def test_the_engine_does_refuse(version: str) -> None:
    """Without this, an acceptance would say nothing."""
    for line in refused_lines():
        assert RECORDED[line][version], f"{version} accepts {line.line}"


def test_values_that_are_not_recorded_stay_in_the_ranges_that_are() -> None:
    """The record has every line in a settled form, and both ends of these ranges."""
    found = list(commands())
    assert found
    for command in found:
        values = {argument.flag: argument.value for argument in command.arguments}
        assert 0.0001 <= float(values["--gpu-memory-utilization"]) <= 1
        assert 1 <= int(values["--port"]) <= 65535
        assert 1 <= int(values["--max-num-seqs"]) <= int(values["--max-num-batched-tokens"])
        assert 1 <= int(values.get("--kv-cache-memory-bytes", "1")) <= 99_999_999_999_999
        assert values["--host"] in ("127.0.0.1", "0.0.0.0")
        assert all(values.get(flag, "-")[0] != "-" or flag not in values for flag in SETTLED)


def test_every_excuse_is_used_and_written_down() -> None:
    refusals = [why for said in RECORDED.values() for why in said.values() if why]
    for text, reason in reasons().items():
        assert reason
        assert any(text in refusal for refusal in refusals), text


def test_every_example_with_a_plan_is_among_them() -> None:
    models = {command.model for command in commands()}
    for plan in (ROOT / "examples").glob("*/plan.yaml"):
        text = plan.read_text(encoding="utf-8")
        assert any(model in text for model in models)
