"""planner report --serve: every answer is what solve says of the edited fleet, and nobody else may ask."""

import html
import http.client
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_report import EXAMPLE, example

import planner
from planner.catalog import load_catalog
from planner.fleet import load_fleet, read_fleet
from planner.plan import Plan, plan_to_yaml
from planner.report import page
from planner.report.asked import controls
from planner.report.server import Server
from planner.report.session import Session
from planner.search.budget import BUDGET


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    catalog = load_catalog()
    path = EXAMPLE / "fleet.yaml"
    allowed = controls(load_fleet(path, catalog), catalog)
    session = Session(written=read_fleet(path), catalog=catalog, controls=allowed, budget=BUDGET)
    with Server(session, example()[1]) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def send(
    server: Server,
    method: str = "POST",
    path: str | None = None,
    body: bytes = b"{}",
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, str], str]:
    """Ask as the page does, but for what a test asks otherwise."""
    host = f"127.0.0.1:{server.server_port}"
    usual = {"Host": host, "Origin": f"http://{host}", "Content-Type": "application/json"}
    own = usual | (headers or {})
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    place = path or server.path + ("answer" if method == "POST" else "")
    connection.request(method, place, body if method == "POST" else None, own)
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    return reply.status, dict(reply.getheaders()), text


def answered(server: Server, asked: object) -> dict[str, Any]:
    status, _, text = send(server, body=json.dumps(asked).encode())
    assert status == 200, text
    found: dict[str, Any] = json.loads(text)
    return found


def shown(answer: dict[str, Any], name: str) -> str:
    found = re.search(rf'<pre id="{name}">\n(.*?)</pre>', answer["html"], re.S)
    assert found is not None
    return html.unescape(found[1])


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"roles": {"coder": {"context": 16384, "requests": 8}}},
        {"roles": {"general": {"cache": "fp8"}, "coder": {"cache": ""}}},
        {"gpu": "L40S", "count": 2},
    ],
)
def test_every_answer_is_what_solve_says_of_the_fleet_that_is_shown(
    server: Server, asked: object, tmp_path: Path
) -> None:
    answer = answered(server, asked)
    (tmp_path / "fleet.yaml").write_text(shown(answer, "fleet"), encoding="utf-8")
    solved = planner.solve(load_fleet(tmp_path / "fleet.yaml"))

    assert isinstance(solved, Plan)
    assert shown(answer, "plan") == plan_to_yaml(solved)
    assert [bar["free_bytes"] for bar in answer["data"]["bars"]] == [gpu.free_bytes for gpu in solved.gpus]


def test_what_is_asked_is_what_changes(server: Server) -> None:
    answer = answered(server, {"roles": {"coder": {"context": 8192}}})
    before, after = example()[0], answer["data"]["curves"]

    assert before.server("coder").max_model_len == 32768
    assert {own["role"]: own["max_model_len"] for own in after}["coder"] == 8192


def test_a_fleet_without_a_plan_is_an_answer(server: Server) -> None:
    answer = answered(server, {"gpu": "RTX 3060 12GB", "count": 1})

    assert answer["told"].startswith("no plan exists for")
    assert answer["data"]["needs"]


@pytest.mark.parametrize(
    "asked",
    [
        [], {"gpu": "abacus", "count": 1}, {"gpu": "L40S", "count": 0}, {"gpu": "L40S"}, {"more": 1},
        {"roles": {"painter": {}}}, {"roles": {"coder": {"context": 1e9}}}, {"roles": {"coder": {"context": "8k"}}},
        {"roles": {"coder": {"context": True}}}, {"roles": {"coder": {"cache": "fp8\nobjective: cost"}}}, {"roles": []},
        {"roles": {"coder": {"models": ["x"]}}},
    ],
)  # fmt: skip
def test_what_the_page_does_not_ask_is_refused_in_words(server: Server, asked: object) -> None:
    status, _, text = send(server, body=json.dumps(asked).encode())

    assert status == 422
    assert json.loads(text)["problem"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1:1"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Length": "1000000000"}, 413),
        ({"Content-Length": "-1"}, 411),
    ],
)
def test_nobody_but_its_own_page_is_heard(server: Server, headers: dict[str, str], status: int) -> None:
    assert send(server, headers=headers)[0] == status


def test_a_page_is_for_who_has_its_address(server: Server) -> None:
    assert send(server, "GET")[0] == 200
    assert send(server, "GET", headers={"Host": "evil.example"})[0] == 421
    assert send(server, "GET", path="/")[0] == 404
    assert send(server, path="/answer")[0] == 404
    assert send(server, "PUT")[0] == 501
    assert server.server_address[0] == "127.0.0.1"


def test_what_is_no_json_is_refused(server: Server) -> None:
    for body in (b"", b"{", b"\xff", b"[" * 60_000):
        assert send(server, body=body)[0] == 400


def test_the_page_may_be_framed_by_nobody_and_asks_only_its_server(server: Server) -> None:
    _, headers, text = send(server, "GET")

    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert headers["Cache-Control"] == "no-store"
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'") and policy[1].endswith("; connect-src 'self'")
    assert "connect-src" not in page(example()[1])
