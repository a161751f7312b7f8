"""The page of a fleet behind HTTP on the loopback interface, with a form whose answers are solved.

Only who has the address with its key may ask, which keeps out other users of the machine and every web page. Requests
must name this server as their host, which a name that somebody points at 127.0.0.1 does not, and questions must come
from its own page and be JSON, which no form of another page can send.
"""

import json
import secrets
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from planner.errors import PlannerError
from planner.report.no_plan import NoPlanView
from planner.report.page import body, page
from planner.report.session import Session
from planner.report.view import View

_LOOPBACK = "127.0.0.1"
_MOST_BYTES = 64 << 10
_IDLE_SECONDS = 60
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Server(ThreadingHTTPServer):
    """Shows one view at first, and answers what its form asks, one question at a time."""

    daemon_threads = True

    def __init__(self, session: Session, first: View | NoPlanView, port: int = 0) -> None:
        super().__init__((_LOOPBACK, port), _Handler)
        self.session, self.first = session, first
        self.path = f"/{secrets.token_urlsafe(16)}/"
        self.solving = threading.Lock()

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{_LOOPBACK}:{self.server_port}{self.path}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a request may call this server."""
        return tuple(f"{name}:{self.server_port}" for name in (_LOOPBACK, "localhost"))


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS

    def do_GET(self) -> None:
        if self.headers.get("Host") not in self.server.hosts:
            return self._refuse(HTTPStatus.MISDIRECTED_REQUEST)
        if self.path != self.server.path:
            return self._refuse(HTTPStatus.NOT_FOUND)
        text = page(self.server.first, controls=self.server.session.controls)
        return self._send(HTTPStatus.OK, "text/html; charset=utf-8", text.encode())

    def do_POST(self) -> None:
        refused = self._refused()
        if refused:
            return self._refuse(refused)
        try:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with self.server.solving:
                found = self.server.session.answer(asked)
        except (ValueError, RecursionError):
            return self._json(HTTPStatus.BAD_REQUEST, {"problem": "this is not JSON"})
        except PlannerError as error:
            return self._json(HTTPStatus.UNPROCESSABLE_ENTITY, {"problem": str(error)})
        own = body(found)
        told = found.headline if isinstance(found, View) else found.text.splitlines()[0]
        return self._json(HTTPStatus.OK, {"html": own.html, "data": own.data, "told": told})

    def _refused(self) -> HTTPStatus | None:
        """Return why a question is not heard."""
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Host") not in self.server.hosts:
            return HTTPStatus.MISDIRECTED_REQUEST
        if self.path != f"{self.server.path}answer":
            return HTTPStatus.NOT_FOUND
        if self.headers.get("Origin") not in [f"http://{host}" for host in self.server.hosts]:
            return HTTPStatus.FORBIDDEN
        if self.headers.get_content_type() != "application/json":
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        if not length.isdecimal():
            return HTTPStatus.LENGTH_REQUIRED
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE if int(length) > _MOST_BYTES else None

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer without looking at a body, after which the connection is of no use."""
        self.close_connection = True
        self._send(status, "text/plain; charset=utf-8", status.phrase.encode())

    def _json(self, status: HTTPStatus, document: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(document, ensure_ascii=False).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        return "planner"

    def log_message(self, *_: object) -> None:
        """Say nothing of requests."""
