"""Live: running servers and a Prometheus, stood in for by servers in this process, held against a plan."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result
from documents import valid

from planner.artifacts.serve_args import serve_arguments
from planner.cli import main
from planner.engine.options import engine_options
from planner.live.asked import Said
from planner.live.drift import findings
from planner.live.local import Process, process_of
from planner.live.observed import edited, proposals
from planner.live.pages import samples
from planner.live.prometheus import Asked
from planner.plan import Plan, plan_from_yaml
from planner.yaml_source import parse_yaml

EXAMPLE = Path(__file__).parent.parent / "examples" / "coder-alone"
KEY = "k3y"
Answer = Callable[[str, str], tuple[int, str]]
"""Path with its query and the Authorization header -> status and body."""


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[int, list[str]]]:
    """Run a server in this process; yields its port and the paths it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            asked.append(self.path)
            code, body = answer(self.path, self.headers.get("Authorization", ""))
            self.send_response(code)
            if code == 302:
                self.send_header("Location", body)
            self.end_headers()
            self.wfile.write(body.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], asked
    finally:
        server.shutdown()
        server.server_close()


def engine(plan: Plan, **changed: object) -> Answer:
    """Answer as the first server of a plan does, but for what is changed."""
    server = plan.servers[0]
    facts: dict[str, Any] = {
        "version": plan.engine_version,
        "model": server.role,
        "length": server.max_model_len,
        "tokens": server.kv_cache_tokens,
        "preemptions": 0,
    } | changed

    def answer(path: str, authorization: str) -> tuple[int, str]:
        if path == "/version":
            return 200, json.dumps({"version": facts["version"]})
        if path == "/v1/models":
            card = {"id": facts["model"], "max_model_len": facts["length"]}
            return (200, json.dumps({"data": [card]})) if authorization == f"Bearer {KEY}" else (401, "{}")
        page = (
            "# HELP x\n"
            f'vllm:cache_config_info{{block_size="16",num_gpu_blocks="{facts["tokens"] // 16}"}} 1.0\n'
            f'vllm:num_preemptions_total{{engine="0",model_name="a b,}}"}} {facts["preemptions"]}.0\n'
            'vllm:num_requests_running{engine="0"} 3.0\nvllm:kv_cache_usage_perc{engine="0"} 0.25\n'
        )
        return (200, page) if path == "/metrics" else (404, "")

    return answer


@pytest.fixture
def plan() -> Plan:
    return plan_from_yaml(EXAMPLE / "plan.yaml")


def verified(folder: Path, plan: Plan, port: int, *options: str, key: str = KEY) -> Result:
    text = (EXAMPLE / "plan.yaml").read_text(encoding="utf-8")
    assert f"port: {plan.servers[0].port}\n" in text
    (folder / "plan.yaml").write_text(text.replace(f"port: {plan.servers[0].port}\n", f"port: {port}\n"))
    environment = {"VLLM_API_KEY": key}
    return CliRunner().invoke(main, ["verify", str(folder), "--live", "--timeout", "5", *options], env=environment)


def states(result: Result) -> dict[str, str]:
    return {one["what"]: one["state"] for one in json.loads(result.stdout)["findings"]}


def test_a_server_as_planned_is_asked_once_for_each_page(tmp_path: Path, plan: Plan) -> None:
    with serving(engine(plan)) as (port, asked):
        result = verified(tmp_path, plan, port, "--json")

    assert result.exit_code == 0, result.output
    assert sorted(asked) == ["/metrics", "/v1/models", "/version"]
    assert states(result) == {
        "engine version": "ok", "models": "ok", "context": "ok", "KV cache tokens": "ok", "preemptions": "ok",
        "requests running": "said", "KV cache in use": "said",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"version": "0.1.0"}, "engine version"),
        ({"model": "other"}, "models"),
        ({"length": 77}, "context"),
        ({"tokens": 1600}, "KV cache tokens"),
        ({"preemptions": 4}, "preemptions"),
    ],
)
def test_every_drift_is_found(tmp_path: Path, plan: Plan, changed: dict[str, Any], what: str) -> None:
    with serving(engine(plan, **changed)) as (port, _):
        result = verified(tmp_path, plan, port, "--json")

    assert result.exit_code == 5
    assert [name for name, state in states(result).items() if state == "differs"] == [what]


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path, plan: Plan) -> None:
    with serving(engine(plan)) as (port, _):
        pass
    result = verified(tmp_path, plan, port)

    assert result.exit_code == 5
    assert "refused" in result.stdout
    assert "Traceback" not in result.output


def test_a_wrong_key_is_said_and_never_printed(tmp_path: Path, plan: Plan) -> None:
    with serving(engine(plan)) as (port, _):
        result = verified(tmp_path, plan, port, key="wr0ng")

    assert result.exit_code == 5
    assert "/v1/models: answers 401" in result.stdout
    assert "wr0ng" not in result.output


def test_a_key_is_not_carried_to_where_a_server_points(tmp_path: Path, plan: Plan) -> None:
    with (
        serving(lambda path, key: (200, "{}")) as (elsewhere, asked),
        serving(lambda path, key: (302, f"http://127.0.0.1:{elsewhere}{path}")) as (port, _),
    ):
        result = verified(tmp_path, plan, port)

    assert result.exit_code == 5
    assert not asked


@pytest.mark.parametrize("body", ["", "[", "\x1b[31m", "[" * 50_000, '{"data": 1, "version": ["\\u001b[2J"]}'])
def test_nonsense_is_no_traceback_and_no_escape(tmp_path: Path, plan: Plan, body: str) -> None:
    with serving(lambda path, key: (200, body)) as (port, _):
        result = verified(tmp_path, plan, port)

    assert result.exit_code == 5
    assert "\x1b" not in result.output


def test_the_options_of_a_process_are_held_against_the_plan(plan: Plan) -> None:
    server = plan.servers[0]
    arguments = serve_arguments(server, engine_options(plan.engine_version))
    words = [word for argument in arguments for word in (argument.flag, *argument.words)]
    as_planned = Process(1, ("m", *words), frozenset({1}))
    other = Process(1, ("m", *words, "--max-num-seqs", "3"), frozenset({1}))

    def options(process: Process) -> list[tuple[str, str, str]]:
        found = findings(plan, server, Said(), process, {})
        return [(one.what, one.found, one.state) for one in found]

    assert [state for *_, state in options(as_planned)] == ["ok"]
    assert options(other) == [("--max-num-seqs", "3", "differs")]


def test_a_server_for_several_roles_has_the_names_of_all() -> None:
    plan = plan_from_yaml(EXAMPLE.parent / "one-server-two-roles" / "plan.yaml")
    server = next(one for one in plan.servers if one.shared)

    def state(*models: str) -> str:
        (found,) = findings(plan, server, Said(models=models), None, None)
        return found.state

    assert state(*server.names) == "ok"
    assert state(server.role) == "differs"


def test_memory_beyond_the_ledger_differs(plan: Plan) -> None:
    server = plan.servers[0]
    total = server.ledger.total_bytes

    found = [one.state for one in findings(plan, server, Said(), None, {0: total, 1: total + 1})]

    assert found == ["ok", "differs"]


def test_a_process_is_found_by_its_port_with_those_below_it(tmp_path: Path) -> None:
    for pid, parent, words in ((10, 1, "python /venv/bin/vllm serve m --port 8123"), (11, 10, "VLLM::EngineCore"),
                               (12, 1, "vllm serve m --port=8124"), (13, 1, "grep vllm")):  # fmt: skip
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "cmdline").write_bytes(words.replace(" ", "\0").encode() + b"\0")
        (folder / "stat").write_text(f"{pid} (a) b) S {parent} 0")

    found = process_of(8123, tmp_path)

    assert found == Process(10, ("m", "--port", "8123"), frozenset({10, 11}))
    assert process_of(9000, tmp_path) is None


def test_metrics_are_read_in_any_spelling() -> None:
    text = '# TYPE a gauge\na 1\nb{x="1",y="} \\" ,"} 2.5e3 1700000000\nc{} NaN\nno sample\nd{x="1"} notanumber\n'

    assert [(one.name, one.labels) for one in samples(text)] == [
        ("a", {}),
        ("b", {"x": "1", "y": '} \\" ,'}),
        ("c", {}),
    ]


def prometheus(answers: dict[str, float]) -> Answer:
    """Answer queries that have a word in them with a number, all others with nothing."""

    def answer(path: str, _: str) -> tuple[int, str]:
        query = parse_qs(urlsplit(path).query)["query"][0]
        value = next((number for word, number in answers.items() if word in query), None)
        found = [] if value is None else [{"metric": {"__name__": "vllm:x"}, "value": [1, str(value)]}]
        return 200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": found}})

    return answer


FLEET = """\
# ours
name: lab
gpu: {name: RTX 4090, count: 1}
roles:
  chat:  # for people
    task: general
    context: 16k
    request: {prompt_tokens: 6k, output_tokens: 500}  # guessed
    concurrency:
      min: 4
      target: 8
  embed: {task: embedding, context: 8k, concurrency: 2}
"""


def test_what_was_asked_becomes_a_diff_of_the_fleet(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(FLEET)
    answers = {
        "request_prompt_tokens": 6144, "request_generation_tokens": 812.3, "requests_running": 11,
        "request_success": 2.4, "prefix_cache_hits": 0.618,
    }  # fmt: skip

    with serving(prometheus(answers)) as (port, _):
        command = ["observe", str(fleet), "--prometheus", f"http://127.0.0.1:{port}"]
        result = CliRunner().invoke(main, command)
        facts = valid("observe", CliRunner().invoke(main, [*command, "--json"]).stdout)

    assert result.exit_code == 0, result.output
    assert {"path": "roles.chat.rate", "before": None, "after": "3/s"} in facts["changes"]
    changed = [line for line in result.stdout.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert changed == [
        "+    rate: 3/s",
        "+    cached_prompt: 0.61",
        "-    request: {prompt_tokens: 6k, output_tokens: 500}  # guessed",
        "+    request: {prompt_tokens: 6k, output_tokens: 813}  # guessed",
        "-      min: 4",
        "-      target: 8",
        "-  embed: {task: embedding, context: 8k, concurrency: 2}",
        "+      min: 11",
        "+      target: 11",
        "+  embed: {request: {prompt_tokens: 6144, output_tokens: 813}, rate: 3/s, cached_prompt: 0.61, "
        "task: embedding, context: 8k, concurrency: 11}",
    ]
    assert fleet.read_text() == FLEET


def test_the_edited_file_says_what_was_proposed_and_keeps_the_rest() -> None:
    source = parse_yaml(FLEET, "fleet.yaml")
    asked = Asked(concurrency=11, prompt_tokens=900, output_tokens=80, requests_per_second=0.2, cached_share=None)
    proposed = [one for role in ("chat", "embed") for one in proposals(source, role, asked)]

    text = edited(FLEET, source, proposed)

    data: Any = parse_yaml(text, "fleet.yaml").data
    assert data["roles"]["chat"] == {
        "rate": "12/min", "task": "general", "context": "16k",
        "request": {"prompt_tokens": 900, "output_tokens": 80}, "concurrency": {"min": 11, "target": 11},
    }  # fmt: skip
    assert data["roles"]["embed"]["concurrency"] == 11
    assert "# guessed" in text
    assert "# for people" in text


def test_a_prometheus_in_place_of_the_servers(tmp_path: Path, plan: Plan) -> None:
    with serving(prometheus({"num_preemptions": 0})) as (port, asked):
        result = verified(tmp_path, plan, 1, "--json", "--prometheus", f"http://127.0.0.1:{port}")

    assert "answers" not in states(result)
    assert len(asked) == 3


@pytest.mark.parametrize("body", ["{}", "[]", "no", '{"status": "success", "data": {"result": [{"metric": 1}]}}'])
def test_something_that_is_no_prometheus_is_said(tmp_path: Path, body: str) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(FLEET)

    with serving(lambda path, key: (200, body)) as (port, _):
        result = CliRunner().invoke(main, ["observe", str(fleet), "--prometheus", f"http://127.0.0.1:{port}"])

    assert result.exit_code == 1
    assert "127.0.0.1" in result.stderr


def test_a_fleet_that_is_no_text_is_refused_with_its_place(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_bytes(b"name: caf\xe9\n")

    result = CliRunner().invoke(main, ["observe", str(fleet), "--prometheus", "http://127.0.0.1:1"])

    assert result.exit_code == 1
    assert "fleet.yaml:1:10: the file is not UTF-8 text" in result.stderr


def test_only_web_addresses_are_opened(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(FLEET)

    result = CliRunner().invoke(main, ["observe", str(fleet), "--prometheus", f"file://{os.fspath(fleet)}"])

    assert result.exit_code == 1
    assert "no address of a web server" in result.stderr
