"""Diagnose: what a log shows, whatever is around its lines, and nothing that it does not show."""

import io
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from planner.cli import main
from planner.logs.causes import CAUSES
from planner.logs.diagnosis import Diagnosis, diagnose
from planner.logs.lines import MAX_LINE, read_lines
from planner.logs.told import advice, happened

CASES = Path(__file__).parent / "cases" / "logs"
EXPECTED: dict[str, dict[str, Any]] = yaml.safe_load((CASES / "expected.yaml").read_text(encoding="utf-8"))
STARTS = "started-with-alarming-lines-0310"
OUT = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.52 GiB"


def read(text: str | bytes) -> tuple[Diagnosis, ...]:
    return diagnose(read_lines(io.BytesIO(text.encode() if isinstance(text, str) else text)))


def log(name: str) -> str:
    return (CASES / f"{name}.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", EXPECTED)
def test_every_log_is_told_by_its_deciding_line(name: str) -> None:
    expected = EXPECTED[name]

    (found,) = read(log(name))

    assert (found.cause, found.version) == (expected["cause"], expected["version"])
    assert found.line is not None
    assert re.search(expected["decisive"], found.line.text)
    figures = {
        key: tuple(value) if isinstance(value, list) else value for key, value in expected.get("figures", {}).items()
    }
    assert {key: found.figures.get(key) for key in figures} == figures


def compose(line: str) -> str:
    return f"coder-1  | {line}"


def docker_times(line: str) -> str:
    return f"2026-08-09T15:17:00.000000417Z {line}"


def container_runtime(line: str) -> str:
    return f"2026-08-09T15:17:00.000000417+00:00 stderr F {line}"


def kubectl(line: str) -> str:
    return f"[pod/coder-0/vllm] {line}"


def journal(line: str) -> str:
    return f"Aug 09 15:17:00 host vllm-coder[4711]: {line}"


def docker_json(line: str) -> str:
    return json.dumps({"log": f"{line}\n", "stream": "stderr", "time": "2026-08-09T15:17:00.0Z"})


def json_logger(line: str) -> str:
    return json.dumps({"timestamp": "2026-08-09", "level": "ERROR", "message": line})


def terminal(line: str) -> str:
    return f"\x1b[0;36m(EngineCore pid=1)\x1b[0;0m {line}\x1b[K"


AROUND = [compose, docker_times, container_runtime, kubectl, journal, docker_json, json_logger, terminal]


@pytest.mark.parametrize("around", AROUND, ids=lambda around: around.__name__)
@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_around_a_line_changes_nothing(name: str, around: Any) -> None:  # noqa: ANN401
    bare = read(log(name))[0]

    (found,) = read("\n".join(around(line) for line in log(name).splitlines()))

    assert (found.cause, found.version, found.figures) == (bare.cause, bare.version, bare.figures)
    assert "\x1b" not in (found.line.text if found.line else "")


def test_two_servers_of_one_compose_file_are_told_apart() -> None:
    failing, starting = log("context-too-long-0280").splitlines(), log(STARTS).splitlines()
    lines = [f"chat-1  | {line}" for line in failing] + [f"coder-1  | {line}" for line in starting]
    order = {name: [line for line in lines if line.startswith(name)] for name in ("chat-1", "coder-1")}
    mixed = [line for pair in zip(*order.values(), strict=False) for line in pair] + order["coder-1"][len(failing) :]

    found = {one.source: one.cause for one in read("\n".join(mixed))}

    assert found == {"chat-1": "context_exceeds_cache", "coder-1": "started"}


def test_the_last_start_of_a_server_counts() -> None:
    (found,) = read(log("context-too-long-0280") + log(STARTS))

    assert (found.cause, found.version) == ("started", EXPECTED[STARTS]["version"])


def test_what_was_survived_on_the_way_up_is_no_failure() -> None:
    noise = "huggingface_hub.errors.LocalEntryNotFoundError: outgoing traffic has been disabled\n"

    (found,) = read(noise + log(STARTS))

    assert found.cause == "started"


@pytest.mark.parametrize(
    ("frame", "cause"),
    [
        ("load_model", "weights_do_not_fit"),
        ("profile_run", "no_memory_for_cache"),
        ("_dummy_sampler_run", "sampler_warmup_oom"),
        ("capture_model", "graph_capture_oom"),
        ("execute_model", "runtime_oom"),
    ],
)
def test_the_traceback_says_where_memory_ran_out(frame: str, cause: str) -> None:
    text = (
        f'ERROR 07-19 22:10:12 [core.py:1] Traceback (most recent call last):\n  File "a.py", line 3, in {frame}\n{OUT}'
    )

    (found,) = read(text)

    assert found.cause == cause
    assert found.figures["tried_gib"] == 2.0


@pytest.mark.parametrize(
    ("before", "cause"),
    [
        ("INFO 07-19 22:10:12 [m.py:1] Starting to load model acme/tiny...", "weights_do_not_fit"),
        ("INFO 07-19 22:10:12 [m.py:1] Model loading took 5.00 GiB memory and 3.0 seconds", "no_memory_for_cache"),
        ("INFO 07-19 22:10:12 [m.py:1] GPU KV cache size: 1,024 tokens", "graph_capture_oom"),
        ("INFO:     Application startup complete.", "runtime_oom"),
    ],
)
def test_without_a_traceback_the_phase_says_where(before: str, cause: str) -> None:
    (found,) = read(f"{before}\n{OUT}")

    assert found.cause == cause


def test_an_unknown_end_prints_the_line_and_claims_nothing() -> None:
    (found,) = read("INFO 07-19 22:10:12 [m.py:1] Starting to load model acme/tiny...\nKeyError: 'experts.3.w1'\n")

    assert found.cause == "unknown"
    assert found.line is not None
    assert found.line.text == "KeyError: 'experts.3.w1'"


def test_a_truncated_log_is_read_as_far_as_it_goes() -> None:
    whole = log(STARTS)

    for end in range(0, len(whole), 997):
        for found in read(whole[:end]):
            assert found.cause in ("unknown", "started")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"9" * 16_000,
        b"\x00\xff\xfe\x7fELF" * 400,
        b"{" * 100_000,
        b"x" * 500_000,
        b'{"log": 3}\n[]\n{"a":' * 50,
        b"\r\r\r\n\r",
    ],
)
def test_what_is_no_log_is_no_traceback(data: bytes) -> None:
    for found in read(data):
        assert found.cause == "unknown"
        assert found.line is None or len(found.line.text) <= MAX_LINE


def test_of_what_is_no_log_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("a,b\n1,2\n", encoding="utf-8")

    shown = CliRunner().invoke(main, ["diagnose", str(path)]).output

    assert shown == "nothing here is of a vLLM server; the last line is\n  line 2: 1,2\n"


def test_escapes_of_a_terminal_are_not_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\x1b]0;title\x07ValueError: \x1b[31mNo available memory for the cache blocks\x1b[0m\x9b2J\x08\n")

    shown = CliRunner().invoke(main, ["diagnose", str(path)]).output

    assert "No available memory for the cache blocks" in shown
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown)


def test_every_cause_has_words() -> None:
    for cause in CAUSES:
        found = Diagnosis(source="", cause=cause, line=None, version=None, model=None, arguments={}, figures={})
        assert happened(found)
        assert (advice(found) is None) == (cause in ("started", "unknown"))


def test_the_docs_list_every_cause() -> None:
    page = (Path(__file__).parent.parent / "docs" / "diagnose.md").read_text(encoding="utf-8")

    assert set(re.findall(r"^\| `(\w+)` \|", page, re.M)) == set(CAUSES)


def test_the_failed_server_comes_first_in_json() -> None:
    lines = [f"chat-1  | {line}" for line in log(STARTS).splitlines()]
    lines += [f"coder-1  | {line}" for line in log("port-8000-taken-0190").splitlines()]

    done = CliRunner().invoke(main, ["diagnose", "-", "--json"], input="\n".join(lines))

    facts = json.loads(done.stdout)
    assert (facts["cause"], facts["version"], facts["source"]) == ("port_in_use", "0.19.0", "coder-1")
    assert [one["cause"] for one in facts["servers"]] == ["started", "port_in_use"]
    assert set(facts) >= {"cause", "line", "version", "figures"}


def test_it_needs_neither_the_solver_nor_the_catalog() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "planner", "diagnose", str(CASES / f"{STARTS}.log")]

    done = subprocess.run(command, check=True, capture_output=True, text=True)

    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert not imported & {"ortools", "jinja2", "pydantic", "planner.catalog"}


def test_what_was_expected_stands_beside_what_was_logged_with_the_least_change() -> None:
    path = CASES / "context-too-long-0280.log"

    result = CliRunner().invoke(main, ["diagnose", str(path), "--gpu", "RTX 4090", "--json"])

    expected = json.loads(result.stdout)["expected"]
    assert (expected["starts"], expected["why_not"]) == (False, "")
    terms = {term["name"]: term for term in expected["terms"]}
    assert terms["weights"]["expected"] == pytest.approx(terms["weights"]["logged"], rel=0.01)
    assert terms["KV cache"]["expected"] == pytest.approx(terms["KV cache"]["logged"], rel=0.02)
    assert list(expected["change"]) == ["max-model-len"]


def test_what_cannot_be_expected_says_why() -> None:
    path = next(one for one in sorted(CASES.glob("*.log")) if EXPECTED[one.stem]["version"] is None)

    result = CliRunner().invoke(main, ["diagnose", str(path), "--gpu", "RTX 4090", "--json"])

    assert json.loads(result.stdout)["expected"]["why_not"]


def of_pids(text: str, api: int, core: int) -> list[str]:
    """Return the lines of a log with other pids."""
    text = re.sub(r"\(APIServer pid=\d+\)", f"(APIServer pid={api})", text)
    return re.sub(r"\((EngineCore\w*) pid=\d+\)", rf"(\1 pid={core})", text).splitlines()


def started(model: str, kv_gib: str) -> str:
    return (
        "(APIServer pid=1) INFO 05-01 10:00:00 [utils.py:1] vLLM API server version 0.27.1\n"
        f"(APIServer pid=1) INFO 05-01 10:00:00 [utils.py:2] non-default args: {{'model': '{model}'}}\n"
        "(EngineCore pid=2) INFO 05-01 10:00:02 [system.py:1] Waiting for init message from front-end.\n"
        f"(EngineCore pid=2) INFO 05-01 10:00:03 [core.py:1] Initializing an engine with config: model='{model}',\n"
        f"(EngineCore pid=2) INFO 05-01 10:00:09 [gpu_worker.py:1] Available KV cache memory: {kv_gib} GiB\n"
        "(APIServer pid=1) INFO:     Application startup complete.\n"
    )


def alternating(first: list[str], second: list[str]) -> str:
    pairs = itertools.zip_longest(first, second, fillvalue="")
    return "\n".join(line for pair in pairs for line in pair if line)


def test_servers_that_write_into_one_log_are_told_apart_by_their_processes() -> None:
    one, other = of_pids(started("a/one", "5.5"), 11, 21), of_pids(started("b/two", "7.25"), 12, 22)

    found = read(alternating(one, other))

    assert [(each.source, each.model, each.figures["available_kv_gib"], each.cause) for each in found] == [
        ("pid 11", "a/one", 5.5, "started"),
        ("pid 12", "b/two", 7.25, "started"),
    ]


def test_cores_of_other_order_than_their_servers_are_told_by_their_models() -> None:
    one, other = of_pids(started("a/one", "5.5"), 11, 21), of_pids(started("b/two", "7.25"), 12, 22)
    cores = [[line for line in lines if "EngineCore" in line] for lines in (other, one)]

    found = read("\n".join([one[0], other[0], one[1], other[1], *cores[0], *cores[1], one[-1], other[-1]]))

    assert [each.figures["available_kv_gib"] for each in found] == [5.5, 7.25]


def test_one_of_two_servers_in_a_log_fails() -> None:
    failed = of_pids(log("weights-oom-l40s-0221"), 31, 41)

    found = read(alternating(of_pids(started("a/one", "5.5"), 11, 21), failed))

    assert {each.cause for each in found} == {"started", EXPECTED["weights-oom-l40s-0221"]["cause"]}


def test_a_server_that_began_after_another_was_gone_is_the_one_that_counts() -> None:
    killed = of_pids(started("a/one", "5.5"), 11, 21)[:-1]

    (found,) = read("\n".join([*killed, *of_pids(started("a/one", "6.5"), 12, 22)]))

    assert (found.source, found.cause, found.figures["available_kv_gib"]) == ("", "started", 6.5)
