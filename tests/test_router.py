"""The rendered HAProxy configuration in front of stand-ins of the engine."""

import contextlib
import http.client
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import plans
import pytest
from msgspec.structs import replace
from staged import KEY, Stage, free_ports, listens, program, stage, wait_until

from planner.artifacts import context

AUTHORIZED = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The router's port, with two servers of role chat and one embedder behind it."""
    *ports, router = free_ports(4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("planner.artifacts.router.ROUTER_PORT", router)
        fleet = plans.plan(
            plans.server("chat-1", role="chat", port=ports[0]),
            plans.server("chat-2", role="chat", port=ports[1]),
            plans.server("embed", port=ports[2], pooling=True),
        )
        staged = stage(
            fleet,
            tmp_path_factory.mktemp("router"),
            PLANNER_ROUTER="on",
            FAKE_TOKEN_SECONDS="0.05",
            FAKE_START_SECONDS="0.1",
        )
    program("haproxy")
    up = staged.run("launch.sh", "up")
    assert up.returncode == 0, up.stderr
    wait_until_balanced(router)
    yield router
    staged.run("launch.sh", "down")


def wait_until_balanced(port: int) -> None:
    wait_until("a request is answered", lambda: post(port, "/v1/completions", {"model": "chat"})[0] == 200)


def post(port: int, path: str, body: object, headers: dict[str, str] = AUTHORIZED) -> tuple[int, dict[str, object]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        connection.request("POST", path, data, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")


def get(port: int, path: str, headers: dict[str, str] = AUTHORIZED) -> tuple[int, dict[str, object]]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")


def test_the_model_chooses_the_server(door: int) -> None:
    assert post(door, "/v1/completions", {"model": "chat"})[1]["served_by"] == "chat"
    assert post(door, "/v1/embeddings", {"model": "embed", "input": "x"})[1]["served_by"] == "embed"


def test_an_unknown_or_missing_model_is_404(door: int) -> None:
    status, body = post(door, "/v1/completions", {"model": "nobody"})

    assert status == 404
    assert "model" in str(body["error"])
    for odd in ({}, {"model": ["chat"]}, {"model": "chat\n"}, {"messages": [{"model": "chat"}]}, b"not json", b""):
        assert post(door, "/v1/completions", odd)[0] == 404


def nested(levels: int) -> object:
    inside: object = "]}"
    for level in range(levels):
        inside = {"model": "embed", '"': inside} if level % 2 else ["[{", inside]
    return inside


@pytest.mark.parametrize(
    ("body", "model"),
    [
        ({"tools": nested(16), "model": "chat"}, "chat"),
        ({"tools": nested(300), "model": "chat"}, "chat"),
        ({"messages": [{"model": "embed", "content": '"model": "embed"'}], "model": "chat"}, "chat"),
        ({"model": "chat", "x": {"model": "embed"}}, "chat"),
        ({"prompt": 'a \\" \\\\', "stop": ["\\", '\\"'], "n": 1, "user": None, "model": "chat", "x": -1.5e3}, "chat"),
        (b'{"model":"embed","model" : "chat"}', "chat"),
        (b' \t\r\n{ "mod\\u0065l" :\n"c\\u0068at" } ', "chat"),
        (b'\xef\xbb\xbf{"model": "chat"}', "chat"),
        (b'{"stream":false,"model":"chat"}', "chat"),
        (b'{"x": "\\ud83d\\ude00", "\\ud83d\\ude00": [], "model": "chat"}', "chat"),
    ],
)  # fmt: skip
def test_the_model_is_what_the_engine_would_read(door: int, body: object, model: str) -> None:
    """The stand-in says what it read itself, with Python's own parser."""
    status, answer = post(door, "/v1/completions", body)

    assert (status, answer["served_by"]) == (200, model)


@pytest.mark.parametrize(
    "body",
    [
        b'{"prompt": "model\\": \\"chat"}', b'{"x": {"model": "chat"}}', b'[{"model": "chat"}]', b'"model": "chat"',
        b'{"model" "chat"}', b'{"model": "chat', b'{"model": "chat"', b'{"x": [1, 2, "model": "chat"}',
        b'{"model": "chat", "model": 1}', b'{"model": {"model": "chat"}}', b'{"model": "ch\\qat"}',
        b'{"model": "\\ud8chat"}',
        b'{"MODEL": "chat"}', b'{"model ": "chat"}', b'{"model": "' + b"x" * 10_000 + b'"}', b"{" + b"[" * 1_000_000,
        b"{" * 100_000, b"--", b"--X\r\n", b"\0",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_model_is_404(door: int, body: bytes) -> None:
    assert post(door, "/v1/completions", body)[0] == 404


def test_the_model_is_found_at_the_end_of_a_long_body(door: int) -> None:
    for size in (100_000, 1_000_000, 4_000_000):
        status, body = post(door, "/v1/completions", {"prompt": "x" * size, "model": "embed"})
        assert (status, body["served_by"]) == (200, "embed")
        assert int(str(body["received"])) > size


def test_a_body_beyond_the_limit_is_413(door: int) -> None:
    big = json.dumps({"model": "chat", "prompt": "x" * 4_300_000})
    run = subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Authorization: Bearer {KEY}",
         "--data-binary", "@-", f"http://127.0.0.1:{door}/v1/completions"],
        input=big, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert run.stdout == "413"


def test_a_body_beyond_the_limit_is_413_without_a_length_too(door: int) -> None:
    run = subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Authorization: Bearer {KEY}",
         "-H", "Transfer-Encoding: chunked", "--data-binary", "@-", f"http://127.0.0.1:{door}/v1/completions"],
        input=json.dumps({"model": "chat", "prompt": "x" * 6_000_000}), capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert run.stdout == "413"


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Bearer {KEY}x", f"bearer{KEY}", f"Basic {KEY}", KEY],
)
def test_no_key_or_a_wrong_key_is_401(door: int, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}

    assert get(door, "/v1/models", headers)[0] == 401
    assert post(door, "/v1/completions", {"model": "chat"}, headers)[0] == 401


@pytest.mark.parametrize(
    "path",
    ["/", "/invocations", "/tokenize", "/metrics", "/docs", "/v1", "/v1/", "/v1/../invocations",
     "/v1/%2e%2e/invocations", "/v1//../invocations", "//v1/models", "/V1/models", "/v2/embed",
     "/inference/v1/generate", "/cohere/v2/chat",
     "/v1/models/../../metrics"],
)  # fmt: skip
def test_every_other_path_is_closed(door: int, path: str) -> None:
    assert get(door, path)[0] == 404
    assert post(door, path, {"model": "chat"})[0] == 404


def health(port: int) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        connection.request("GET", "/health")
        return connection.getresponse().status


def test_health_needs_no_key(door: int) -> None:
    assert health(door) == 200


def test_the_roles_are_the_models(door: int) -> None:
    status, body = get(door, "/v1/models")

    assert status == 200
    data = body["data"]
    assert isinstance(data, list)
    assert [card["id"] for card in data] == ["chat", "embed"]


def test_a_stream_is_not_buffered(door: int) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", door, timeout=120)) as connection:
        body = json.dumps({"model": "chat", "stream": True, "max_tokens": 20})
        connection.request("POST", "/v1/completions", body, AUTHORIZED)
        answer = connection.getresponse()
        arrivals = []
        while line := answer.readline():
            if line.startswith(b"data:"):
                arrivals.append(time.monotonic())

    assert len(arrivals) == 21
    assert arrivals[0] < arrivals[-1] - 0.7, "the first event came long before the last"


def test_replicas_share_the_load(door: int) -> None:
    ports = set()
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            connection = stack.enter_context(closing(http.client.HTTPConnection("127.0.0.1", door, timeout=120)))
            body = json.dumps({"model": "chat", "stream": True, "max_tokens": 20})
            connection.request("POST", "/v1/completions", body, AUTHORIZED)
            ports.add(connection.getresponse().getheader("X-Port"))

    assert len(ports) == 2, "while one replica answers, the other gets the next request"


def test_a_replica_that_stops_is_not_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connections are refused before the router's next check has found out."""
    *ports, router = free_ports(3)
    monkeypatch.setattr("planner.artifacts.router.ROUTER_PORT", router)
    replicas = [plans.server(f"chat-{number}", role="chat", port=port) for number, port in enumerate(ports, 1)]
    staged = stage(plans.plan(*replicas), tmp_path, PLANNER_ROUTER="on")
    try:
        assert staged.run("launch.sh", "up").returncode == 0
        wait_until_balanced(router)
        time.sleep(3)
        assert staged.run("launch.sh", "down", "chat-1").returncode == 0
        for _ in range(8):
            assert post(router, "/v1/completions", {"model": "chat"})[0] == 200
    finally:
        staged.run("launch.sh", "down")


def test_a_role_without_a_healthy_server_is_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, router = free_ports(2)
    monkeypatch.setattr("planner.artifacts.router.ROUTER_PORT", router)
    staged: Stage = stage(plans.plan(plans.server("chat", port=port)), tmp_path, PLANNER_ROUTER="on")
    process = subprocess.Popen(
        [program("haproxy"), "-db", "-f", str(staged.folder / "router" / "haproxy.cfg")],
        env=staged.environment, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until("the router listens", lambda: listens(router))
        wait_until("the server is known as down", lambda: post(router, "/v1/completions", {"model": "chat"})[0] == 503)
        _, body = post(router, "/v1/completions", {"model": "chat"})
        assert "No server of this model is healthy" in str(body["error"])
        assert health(router) == 503
    finally:
        process.terminate()
        process.wait(timeout=10)


def test_without_a_key_in_the_environment_nobody_gets_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, router = free_ports(2)
    monkeypatch.setattr("planner.artifacts.router.ROUTER_PORT", router)
    staged = stage(plans.plan(plans.server("chat", port=port)), tmp_path)
    environment = {name: value for name, value in staged.environment.items() if name != "VLLM_API_KEY"}
    process = subprocess.Popen(
        [program("haproxy"), "-db", "-f", str(staged.folder / "router" / "haproxy.cfg")],
        env=environment, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until("the router listens", lambda: listens(router))
        for authorization in ("", "Bearer", "Bearer ", "Bearer x"):
            assert get(router, "/v1/models", {"Authorization": authorization})[0] == 401
    finally:
        process.terminate()
        process.wait(timeout=10)


def test_ports_do_not_collide() -> None:
    taken = replace(plans.two_roles(), servers=(plans.server("coder", port=8000), plans.server("general", port=8001)))

    assert context.build_context(taken).router.port == 8002
