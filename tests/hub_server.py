"""A small stand-in for the Hugging Face hub: the metadata endpoints, over real HTTP, with faults on request.

It serves ``/ORG/NAME/resolve/REVISION/FILE`` as the hub does: small files directly, safetensors by a redirect to a
content server that answers range requests. ``requests`` records what was asked for, ``bytes_sent`` how much was sent.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the server holds: files by repository, and how it misbehaves.

    ``status`` answers every request with this code, ``fail_first`` that many requests with ``fail_status`` (0: the
    connection is dropped instead). ``token`` is asked for when set. ``ignore_ranges`` answers with the whole file.
    ``pad`` makes files look larger than their content: the rest is a stream of zeros.
    """

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    pad: dict[str, int] = field(default_factory=dict)
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    wait_seconds: float = 0
    turn_in_circles: bool = False
    token: str = ""
    gated: bool = False
    status: int = 0
    fail_first: int = 0
    fail_status: int = 0
    ignore_ranges: bool = False
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    bytes_sent: int = 0
    endpoint: str = ""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve a hub on a free port of this machine."""

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub = self.state
        hub.requests.append((self.command, self.path, self.headers.get("Range", "")))
        if hub.wait_seconds:
            time.sleep(hub.wait_seconds)
        if hub.turn_in_circles:
            self._head(302, {"Location": self.path, "Content-Length": "0"})
            return
        if hub.status:
            self._plain(hub.status)
            return
        if self.path.startswith("/api/models/") and self.path.removeprefix("/api/models/") in hub.cards:
            body = json.dumps(hub.cards[self.path.removeprefix("/api/models/")]).encode()
            self._head(200, {"Content-Length": str(len(body))})
            self._send(body, 0)
            return
        if hub.fail_first > 0 and self.command == "GET":
            hub.fail_first -= 1
            self._fail()
            return
        if self.path.startswith("/content/"):
            self._content(*self.path.removeprefix("/content/").split("/", 2))
            return
        parts = self.path.strip("/").split("/", 4)
        if len(parts) < 5 or parts[2] != "resolve":
            self._plain(404, "RepoNotFound")
            return
        self._resolve(f"{parts[0]}/{parts[1]}", parts[3], parts[4])

    def _resolve(self, repository: str, revision: str, file: str) -> None:
        hub = self.state
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self._plain(401, "GatedRepo" if hub.gated else "RepoNotFound")
            return
        if repository not in hub.files:
            self._plain(404, "RepoNotFound")
        elif revision not in ("main", COMMIT):
            self._plain(404, "RevisionNotFound")
        elif file not in hub.files[repository]:
            self._plain(404, "EntryNotFound")
        elif file.endswith(".safetensors"):
            size = len(hub.files[repository][file]) + hub.pad.get(file, 0)
            self._head(302, {"Location": f"{hub.endpoint}/content/{repository}/{file}", "X-Linked-Size": str(size),
                             "X-Linked-ETag": '"shard"', "Content-Length": "0"})  # fmt: skip
        else:
            size = len(hub.files[repository][file]) + hub.pad.get(file, 0)
            self._head(200, {"ETag": f'"{hash(file) & 0xFFFFFFFF:08x}"', "Content-Length": str(size)})
            self._send(hub.files[repository][file], hub.pad.get(file, 0))

    def _content(self, organisation: str, name: str, file: str) -> None:
        """The content server: no token may reach it, and ranges are answered with 206."""
        hub = self.state
        content = hub.files[f"{organisation}/{name}"][file]
        total = len(content) + hub.pad.get(file, 0)
        asked = self.headers.get("Range", "")
        if not asked or hub.ignore_ranges:
            self._head(200, {"Content-Length": str(total)})
            self._send(content, hub.pad.get(file, 0))
            return
        first, last = (int(text) for text in asked.removeprefix("bytes=").split("-"))
        last = min(last, total - 1)
        body = (content[first : last + 1]).ljust(last + 1 - first, b"\0")
        self._head(206, {"Content-Length": str(len(body)), "Content-Range": f"bytes {first}-{last}/{total}"})
        self._send(body, 0)

    def _fail(self) -> None:
        if self.state.fail_status:
            self._plain(self.state.fail_status)
            return
        self.send_response(206)
        self.send_header("Content-Length", "100000")
        self.send_header("Content-Range", "bytes 0-99999/200000")
        self.end_headers()
        self.wfile.write(b"only a little")
        self.close_connection = True

    def _plain(self, status: int, code: str = "") -> None:
        self._head(status, {"Content-Length": "0", **({"X-Error-Code": code} if code else {})})

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("X-Repo-Commit", COMMIT)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()

    def _send(self, body: bytes, zeros: int) -> None:
        if self.command == "HEAD":
            return
        try:
            self.wfile.write(body)
            self.state.bytes_sent += len(body)
            while zeros > 0:
                chunk = min(zeros, 1 << 16)
                self.wfile.write(bytes(chunk))
                self.state.bytes_sent += chunk
                zeros -= chunk
        except OSError:
            self.close_connection = True


def shard(tensors: dict[str, tuple[str, list[int]]], *, pad_header: int = 0) -> tuple[bytes, int]:
    """Return the header of a safetensors file with these tensors, and how many bytes of data follow it."""
    sizes = {"BF16": 2, "F16": 2, "F32": 4, "I32": 4, "F8_E4M3": 1}
    header: dict[str, Any] = {}
    offset = 0
    for name, (dtype, shape) in tensors.items():
        length = sizes[dtype]
        for side in shape:
            length *= side
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + length]}
        offset += length
    raw = json.dumps(header).encode() + b" " * pad_header
    return len(raw).to_bytes(8, "little") + raw, offset
