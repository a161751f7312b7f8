"""A hub that answers slowly, wrongly or with lies: a reason in time, and nothing kept."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from hub_server import COMMIT, shard
from test_catalog_add import CONFIG, PARAMETERS, tensors

from planner.catalog import hub, load_catalog
from planner.errors import InvalidConfig, PlannerError, UnknownName

BODY = json.dumps(CONFIG).encode()
HEADER, DATA_BYTES = shard(tensors())
Answer = Callable[[str, str], bytes | Iterator[bytes]]
"""What a server sends for a method and a path: at once, or piece by piece."""


def response(status: str = "200 OK", body: bytes = b"", **headers: Any) -> bytes:  # noqa: ANN401 - any header
    lines = {"X-Repo-Commit": COMMIT, "ETag": '"x"', "Content-Length": len(body), "Connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def well(method: str, path: str) -> bytes:
    if path.endswith("/config.json"):
        return response(body=BODY if method == "GET" else b"", Content_Length=len(BODY))
    return response("404 Not Found", X_Error_Code="EntryNotFound")


def config_answer(**headers: Any) -> Answer:  # noqa: ANN401 - any header
    """A hub that is well but for what it says of its config."""

    def answer(method: str, path: str) -> bytes:
        if path.endswith("/config.json"):
            stated: dict[str, Any] = {"Content_Length": len(BODY), **headers}
            return response(body=BODY if method == "GET" else b"", **stated)
        return well(method, path)

    return answer


def shard_answer(span: str) -> Answer:
    """A hub that sends the start of the weights and says that they are those bytes of so many."""

    def answer(method: str, path: str) -> bytes:
        return response("206 Partial", HEADER, Content_Range=span) if path.endswith("tensors") else well(method, path)

    return answer


def always(status: str, **headers: Any) -> Answer:  # noqa: ANN401 - any header
    return lambda method, path: response(status, **headers)


def a_byte_at_a_time(method: str, path: str) -> Iterator[bytes]:
    for byte in response(Content_Length=len(BODY)):
        time.sleep(0.2)
        yield bytes([byte])


def silent_page(method: str, path: str) -> bytes | Iterator[bytes]:
    return a_byte_at_a_time(method, path) if path.startswith("/api") else well(method, path)


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Serve raw answers on a free port; every connection is closed after one."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def one(connection: socket.socket) -> None:
            with connection:
                method, path, _ = connection.recv(1 << 16).decode().split("\r\n")[0].split(" ")
                sent = answer(method, path)
                try:
                    for piece in (sent,) if isinstance(sent, bytes) else sent:
                        connection.sendall(piece)
                except OSError:
                    return

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PLANNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PLANNER_CATALOG", str(tmp_path / "own"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)  # this hub is the test's own
    monkeypatch.setattr("planner.catalog.hub_requests._PAUSES", (0.01,))
    return tmp_path


def asked(answer: Answer, monkeypatch: pytest.MonkeyPatch, *names: str) -> list[object]:
    """Return what one catalog says of repositories of such a hub."""
    catalog, found = load_catalog(), list[object]()
    with serving(answer) as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        for name in names or ("acme/tiny",):
            try:
                found.append(catalog.find(name))
            except PlannerError as error:
                found.append(error)
    return found


def kept(home: Path) -> list[Path]:
    return list((home / "cache").rglob("*.yaml"))


@pytest.mark.parametrize(
    "answer",
    [
        well,
        config_answer(Content_Length=None, Connection="close"),
        config_answer(X_Linked_Size="many"),
        config_answer(X_Linked_Size="-5"),
        shard_answer(f"bytes 0-{len(HEADER) - 1}/{len(HEADER) + DATA_BYTES}"),
    ],
    ids=["all well", "no size", "size that is none", "size below nothing", "weights"],
)
def test_what_a_hub_leaves_out_is_no_reason_to_refuse(
    home: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    (found,) = asked(answer, monkeypatch)

    assert isinstance(found, tuple)
    assert (found[0].parameters, found[1].revision) == (PARAMETERS, COMMIT)
    assert len(kept(home)) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (config_answer(Content_Length=10), "not valid JSON"),
        (config_answer(Content_Length=-1), "cannot be reached"),
        (config_answer(Content_Length=10**30), "cannot be reached"),
        (config_answer(X_Repo_Commit="../../etc"), "a commit, which is none"),
        (always("302 Found", Location="http://[::1"), "cannot be reached"),
        (always("302 Found", Location="file:///etc/passwd"), "cannot be reached"),
        (always("302 Found", Location="http://127.0.0.1:9/x"), "cannot be reached"),
        (always("404 Not Found"), "has no such repository or file; check the spelling"),
        (always("503 Busy"), "the hub answered 503; try again later"),
        (always("429 Slow down", Retry_After="60"), "limits how often"),
        (lambda method, path: b"hello\r\n\r\n", "cannot be reached"),
        (lambda method, path: b"", "cannot be reached"),
        (shard_answer("bytes 0-9/5"), "cannot hold"),
        (shard_answer("bytes 0-9/*"), "does not say how large"),
        (shard_answer(f"bytes 0-9/{1 << 62}"), "more than any file"),
        (shard_answer(f"bytes 0-9/{10**30}"), "more than any file"),
        (shard_answer("bytes 500-599/215937"), "where bytes from 0 on"),
        (shard_answer(f"bytes 0-9/{len(HEADER) + 10}"), "does not hold"),
    ],
    ids=[
        "cut", "negative length", "huge length", "commit", "address", "file", "down", "404", "503", "429", "garbage",
        "closed", "short weights", "no total", "huge weights", "huger weights", "other bytes", "no room",
    ],
)  # fmt: skip
def test_what_a_hub_says_wrongly_is_told_and_not_kept(
    home: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer, words: str
) -> None:
    (error,) = asked(answer, monkeypatch)

    assert isinstance(error, UnknownName | InvalidConfig)
    assert words in str(error)
    assert "planner-hub-" not in str(error)
    assert kept(home) == []


@pytest.mark.parametrize(("answer", "requests"), [(a_byte_at_a_time, 1), (silent_page, 6)], ids=["all", "the card"])
def test_a_hub_that_never_ends_its_answer_is_left_behind_and_asked_no_more(
    home: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer, requests: int
) -> None:
    monkeypatch.setattr(hub, "_ALL_SECONDS", 0.5)
    paths = list[str]()

    def noted(method: str, path: str) -> bytes | Iterator[bytes]:
        paths.append(path)
        return answer(method, path)

    errors = asked(noted, monkeypatch, "acme/tiny", "acme/other", "acme/third")

    assert len(errors) == 3
    assert all("has not answered everything within" in str(error) for error in errors)
    assert len(paths) == requests
    assert kept(home) == []
