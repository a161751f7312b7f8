"""load.sh against stand-ins, and its options against the benchmark of every engine version."""

import contextlib
import itertools
import json
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import plans
import pytest
from msgspec.structs import replace
from staged import Stage, free_ports, stage, wait_until

from planner.artifacts.bench import bench
from planner.plan import Plan, ServerPlan

OPTIONS = json.loads((Path(__file__).parent / "data" / "bench-options.json").read_text(encoding="utf-8"))
FIXED = (
    "--base-url", "--model", "--served-model-name", "--num-prompts", "--max-concurrency", "--ready-check-timeout-sec",
    "--disable-tqdm", "--metric-percentiles", "--save-result", "--result-dir", "--result-filename",
)  # fmt: skip


def fleet(*ports: int) -> Plan:
    """A server of text and one of embeddings, with room for four requests each."""
    embedder = plans.server(
        "embed", port=ports[1], pooling=True, kv_cache_memory_bytes=0, kv_cache_tokens=0, max_num_seqs=4
    )
    return plans.plan(plans.server("coder", port=ports[0], max_num_seqs=4, output_tokens=20), embedder)


def loaded(tmp_path: Path, **environment: str) -> Stage:
    """A running fleet whose answers take a second."""
    staged = stage(fleet(*free_ports(2)), tmp_path, FAKE_TOKEN_SECONDS="0.05", **environment)
    up = staged.run("launch.sh", "up")
    assert up.returncode == 0, up.stderr
    return staged


def test_a_server_that_keeps_its_promise(tmp_path: Path) -> None:
    staged = loaded(tmp_path)
    try:
        run = staged.run("load.sh")
    finally:
        staged.run("launch.sh", "down")

    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines() == [
        "ok    coder                12 requests of 16108 + 20 tokens, 4 at once, all answered",
        "ok    coder                no request was thrown out of the KV cache",
        "ok    coder                requests at once: 4, planned 4",
        "ok    coder                measured: 1000 tokens/s in all, 90 of them written; first token after 12 ms "
        "(95 %: 45 ms), then every 7 ms (95 %: 9 ms)",
        "ok    embed                12 requests of 16128 + 0 tokens, 4 at once, all answered",
        "ok    embed                no request was thrown out of the KV cache",
        "ok    embed                measured: 1000 tokens/s in all",
        "the plan holds under its load",
    ]


def test_what_was_measured_is_held_against_the_ranges_of_the_plan(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    coder = plans.server("coder", port=port, max_num_seqs=4, output_tokens=20, speed=plans.SPEED)
    staged = stage(plans.plan(coder), tmp_path, FAKE_TOKEN_SECONDS="0.05")
    assert staged.run("launch.sh", "up").returncode == 0
    try:
        run = staged.run("load.sh")
    finally:
        staged.run("launch.sh", "down")

    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-5:] == [
        "ok    coder                first token after 12.3 ms, planned 150 to 600: faster",
        "ok    coder                a token every 7.8 ms, planned 7.5 to 11.25",
        "SLOW  coder                written 90.5 tokens/s, planned 640 to 960: slower",
        "slower than 9 of 10 measurements would be: one figure",
        "the plan holds under its load",
    ]


def shared(*ports: int) -> Plan:
    """Two servers on one card."""
    speed = replace(plans.SPEED, busy_permille=2000)
    return plans.plan(
        *(
            plans.server(name, port=port, max_num_seqs=2, output_tokens=20, speed=speed)
            for name, port in zip(("coder", "general"), ports, strict=True)
        )
    )


def test_servers_on_one_card_are_loaded_alone_and_together(tmp_path: Path) -> None:
    staged = stage(shared(*free_ports(2)), tmp_path, FAKE_TOKEN_SECONDS="0.05")
    assert staged.run("launch.sh", "up").returncode == 0
    try:
        run = staged.run("load.sh", "--beside")
    finally:
        staged.run("launch.sh", "down")

    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines() == [
        f"{name:<20} a token every 7.8 ms alone, 7.8 ms beside the others: 1.00 times; the plan allows for 2"
        for name in ("coder", "general")
    ]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"FAKE_PREEMPT": "1"}, "12 requests were thrown out of the KV cache"),
        ({"FAKE_AT_ONCE": "2"}, "requests at once: 2, planned 4: the KV cache is full"),
        ({"FAKE_REFUSE": "1"}, "0 of 12 requests were answered: urllib.error.HTTPError: HTTP Error 400"),
    ],
)
def test_a_server_that_does_not(tmp_path: Path, environment: dict[str, str], message: str) -> None:
    staged = loaded(tmp_path, **environment)
    try:
        run = staged.run("load.sh", "coder")
    finally:
        staged.run("launch.sh", "down")

    assert run.returncode == 1
    assert f"FAIL  coder                {message}" in run.stdout
    assert "servers that fall short of the plan: 1" in run.stdout
    assert "embed" not in run.stdout


class Mute(BaseHTTPRequestHandler):
    """A server that has a page of metrics and answers no request before the test ends."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        threading.Event().wait(300)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def benchmarks(folder: Path) -> list[Path]:
    """Return the processes of benchmarks that write their report below a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        if {b"bench", b"serve"} <= set(words) and any(str(folder).encode() in word for word in words):
            found.append(path)
    return found


@pytest.mark.parametrize("options", [(), ("--beside",)], ids=["all", "alone"])
def test_a_signal_ends_the_benchmark_too(tmp_path: Path, options: tuple[str, ...]) -> None:
    ports = free_ports(2)
    with contextlib.ExitStack() as ended:
        for port in ports:
            server = ended.enter_context(ThreadingHTTPServer(("127.0.0.1", port), Mute))
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
            ended.callback(server.shutdown)
        staged = stage(shared(*ports), tmp_path, TMPDIR=str(tmp_path))
        script = staged.start("load.sh", *options)
        wait_until("a benchmark", lambda: len(benchmarks(tmp_path)) == (1 if options else 2))

        assert staged.finish(script, signal.SIGTERM) == 143
        wait_until("the end of the benchmark", lambda: not benchmarks(tmp_path))
        assert not list(tmp_path.glob("tmp.*"))


def test_a_dead_server_is_no_result(tmp_path: Path) -> None:
    staged = stage(fleet(*free_ports(2)), tmp_path)

    run = staged.run("load.sh", "coder")

    assert run.returncode == 1
    assert "0 of 12 requests were answered" in run.stdout
    assert staged.run("load.sh", "nobody").returncode == 64


def test_a_role_that_the_benchmark_cannot_load_is_said_to_be_so(tmp_path: Path) -> None:
    old = plans.plan(plans.server("sorter", task="rerank", pooling=True), engine_version="0.11.0")

    run = stage(old, tmp_path).run("load.sh")

    assert run.returncode == 0
    assert "the benchmark of this engine version cannot load this role" in run.stdout


@pytest.mark.parametrize("version", OPTIONS)
@pytest.mark.parametrize(
    "server",
    [plans.server("text", trust_remote_code=True), plans.server("v", pooling=True),
     plans.server("s", pooling=True, task="rerank")],
    ids=["text", "embedding", "rerank"],
)  # fmt: skip
def test_every_engine_version_has_the_options(version: str, server: ServerPlan) -> None:
    known = OPTIONS[version]
    arguments = bench(server, version).arguments

    assert {word for word in (*arguments, *FIXED) if word.startswith("--")} <= known.keys()
    for flag, value in itertools.pairwise(arguments):
        if flag in ("--backend", "--endpoint-type", "--dataset-name"):
            assert value in known[flag]


def test_a_prompt_leaves_room_for_what_the_tokenizer_adds() -> None:
    full = bench(plans.server("one", request_tokens=16384, output_tokens=0), "0.33.0")
    short = bench(plans.server("one", request_tokens=8192, output_tokens=1024), "0.33.0")

    assert (full.prompt_tokens, full.output_tokens) == (16384 - 256 - 4096, 4096), "a quarter where nobody says"
    assert (short.prompt_tokens, short.output_tokens) == (7168, 1024)
