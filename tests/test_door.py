"""The router with what an operator adds: a certificate, keys of clients, Prometheus, and too many requests."""

import contextlib
import hashlib
import http.client
import itertools
import json
import re
import signal
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import plans
import pytest
from certificates import certify
from staged import KEY, Stage, free_ports, stage, wait_until

LIMIT = 3


@dataclass
class Door:
    """A fleet with one server behind an HTTPS router, and the authority that its clients trust."""

    staged: Stage
    port: int
    authority: Path

    def connection(self) -> http.client.HTTPSConnection:
        trusted = ssl.create_default_context(cafile=str(self.authority))
        return http.client.HTTPSConnection("localhost", self.port, timeout=120, context=trusted)

    def ask(self, key: str, **body: object) -> tuple[int, str | None]:
        """Return the status of a request and when to come again."""
        with closing(self.connection()) as connection:
            connection.request("POST", "/v1/completions", json.dumps({"model": "chat", **body}), bearer(key))
            answer = connection.getresponse()
            return answer.status, answer.getheader("Retry-After")

    def stream(self, connection: http.client.HTTPSConnection, tokens: int) -> http.client.HTTPResponse:
        body = {"model": "chat", "stream": True, "max_tokens": tokens}
        connection.request("POST", "/v1/completions", json.dumps(body), bearer(KEY))
        return connection.getresponse()

    def write_keys(self, **keys: str) -> None:
        """Give each client its key, as the router's file has it, and let the router read it."""
        lines = [f"{hashlib.sha256(key.encode()).hexdigest()} {name}\n" for name, key in keys.items()]
        (self.staged.folder / "keys").write_text("# clients\n" + "".join(lines), encoding="utf-8")

    def reload(self, key: str, wanted: int) -> None:
        """Let the router read its files until it does: it loses a signal that comes while it still reads them."""
        turns = itertools.count()

        def answered() -> bool:
            if next(turns) % 40 == 0:
                assert self.staged.run("launch.sh", "reload").returncode == 0
            return self.ask(key)[0] == wanted

        wait_until(f"the key is answered {wanted}", answered)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    port, router = free_ports(2)
    monkeypatch.setattr("planner.artifacts.router.ROUTER_PORT", router)
    monkeypatch.setattr("planner.artifacts.router._REQUESTS_FOR_A_PLACE", 0)
    monkeypatch.setattr("planner.artifacts.router._REQUESTS_FLOOR", LIMIT)
    fleet = plans.plan(plans.server("chat", port=port))
    staged = stage(fleet, tmp_path, PLANNER_ROUTER="on", FAKE_TOKEN_SECONDS="0.03", FAKE_START_SECONDS="0.1")
    found = Door(staged, router, certify(tmp_path, tmp_path / "fleet" / "tls.pem"))
    found.write_keys(ann="sk-of-ann")
    up = staged.run("launch.sh", "up")
    assert up.returncode == 0, up.stderr
    wait_until("the server is balanced", lambda: found.ask(KEY)[0] == 200)
    yield found
    staged.run("launch.sh", "down")


def test_keys_and_tls_and_limits(door: Door) -> None:
    """One fleet for all of it, because a fleet takes a second to start."""
    assert door.ask("sk-of-ann")[0] == 200, "the server knows no key but the fleet's own, so the router changed it"
    for wrong in ("sk-of-bob", hashlib.sha256(b"sk-of-ann").hexdigest(), ""):
        assert door.ask(wrong)[0] == 401
    with (
        pytest.raises((ConnectionError, http.client.HTTPException)),
        closing(http.client.HTTPConnection("localhost", door.port, timeout=120)) as plain,
    ):
        plain.request("GET", "/v1/models", headers=bearer(KEY))
        plain.getresponse()

    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(closing(door.connection())) for _ in range(LIMIT)]
        answers = [door.stream(connection, 20) for connection in connections]
        assert door.ask(KEY) == (429, "5")
        assert [len([*answer]) for answer in answers] == [42] * LIMIT
    assert door.ask(KEY)[0] == 200

    with closing(door.connection()) as connection:
        answer = door.stream(connection, 20)
        door.write_keys(bob="sk-of-bob")
        door.reload("sk-of-bob", 200)
        door.reload("sk-of-ann", 401)
        assert len([*answer]) == 42, "a new key costs nobody an answer"

    page = urlopen(f"http://{door.staged.environment['PLANNER_METRICS']}/metrics").read().decode()
    assert 'haproxy_backend_active_servers{proxy="role-chat"} 1' in page
    assert 'haproxy_frontend_http_responses_total{proxy="clients",code="5xx"}' in page
    alerts = (door.staged.folder / "monitoring" / "alerts.yml").read_text(encoding="utf-8")
    assert all(f"{name}{{" in page for name in re.findall(r"haproxy_\w+", alerts))
    log = (door.staged.folder / "logs" / "router.log").read_text(encoding="utf-8")
    assert "{ann|chat}" in log
    assert "{operator|chat}" in log
    assert KEY not in log
    assert "sk-of-ann" not in log

    with closing(door.connection()) as connection:
        answer = door.stream(connection, 20)
        down = door.staged.start("launch.sh", "down")
        assert len([*answer]) == 42, "what is being answered is answered before the fleet stops"
    assert door.staged.finish(down) == 0


def listed(port: int, key: str) -> int:
    """Return the status of the list of models, which the router answers itself."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        connection.request("GET", "/v1/models", headers=bearer(key))
        return connection.getresponse().status


def test_the_router_of_a_unit_reads_its_keys_again_and_ends_softly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As systemd starts it: behind the gate, the key a credential, and no certificate."""
    port, router = free_ports(2)
    monkeypatch.setattr("planner.artifacts.router.ROUTER_PORT", router)
    staged = stage(plans.plan(plans.server("chat", port=port)), tmp_path, PLANNER_KEYS=str(tmp_path / "keys"))
    del staged.environment["VLLM_API_KEY"]
    staged.environment["CREDENTIALS_DIRECTORY"] = str(tmp_path / "credentials")
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "vllm_api_key").write_text(KEY, encoding="utf-8")
    (tmp_path / "credentials" / "tls.pem").write_text("none", encoding="utf-8")
    (tmp_path / "keys").touch()
    unit = (staged.folder / "systemd" / "planner-workstation--router.service").read_text(encoding="utf-8")
    command = unit.split("gate.sh \\\n")[1].split("/etc/planner")[0].replace("\\\n", " ").split()
    gate = staged.start("gate.sh", *command, str(staged.folder / "router" / "haproxy.cfg"))

    def answered(key: str, status: int, *, told: bool = False) -> None:
        for turn in range(4000):
            if told and turn % 40 == 0:  # HAProxy loses a signal while it reads its files
                gate.send_signal(signal.SIGUSR2)
            with contextlib.suppress(ConnectionRefusedError):
                if listed(router, key) == status:
                    return
            time.sleep(0.05)
        raise AssertionError(staged.output.read_text(encoding="utf-8"))

    try:
        answered(KEY, 200)
        answered("sk-of-ann", 401)
        (tmp_path / "keys").write_text(hashlib.sha256(b"sk-of-ann").hexdigest() + " ann\n", encoding="utf-8")
        answered("sk-of-ann", 200, told=True)
        answered(KEY, 200)
    finally:
        code = staged.finish(gate, signal.SIGTERM)

    assert code == 143
    assert "--end-with USR1" in " ".join(command)
