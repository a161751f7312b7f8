"""One page of a server: asked for once, with a time-out, read up to a limit; and the metrics on it."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from planner.errors import PlannerError
from planner.logs.lines import plain

_MOST_BYTES = 16 << 20
_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)(?:\s+-?\d+)?$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class NoAnswer(PlannerError):
    """A page could not be read; ``reason`` says why."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(url, reason)

    def __str__(self) -> str:
        return f"{self.url}: {self.reason}"


class Sample(Struct, frozen=True):
    """One line of a metrics page."""

    name: str
    labels: dict[str, str]
    value: float


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: a key is for the server it was given for."""

    def redirect_request(self, *_: object) -> None:
        return None


def page(url: str, timeout_s: float, key: str = "") -> str:
    """Return the text of a page.

    Raises:
        NoAnswer: nothing answers in time, or not with a page.
    """
    if not url.startswith(("http://", "https://")):
        raise NoAnswer(url, "is no address of a web server")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    opener = urllib.request.build_opener(_Stay)
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=timeout_s) as answer:
            data: bytes = answer.read(_MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        raise NoAnswer(url, f"answers {error.code}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise NoAnswer(url, plain(str(getattr(reason, "strerror", None) or reason)).lower()) from error
    if len(data) > _MOST_BYTES:
        raise NoAnswer(url, "answers with more than is read")
    return data.decode("utf-8", "replace")


def json_page(url: str, timeout_s: float, key: str = "") -> Any:  # noqa: ANN401 - any JSON
    """Return what a JSON page says.

    Raises:
        NoAnswer: as for ``page``, or it is no JSON.
    """
    try:
        return json.loads(page(url, timeout_s, key))
    except (ValueError, RecursionError) as error:
        raise NoAnswer(url, "answers with something that is no JSON") from error


def samples(text: str) -> Iterator[Sample]:
    """Yield the metrics of a page in the text format of Prometheus."""
    for line in text.splitlines():
        match = None if line.startswith("#") else _SAMPLE.fullmatch(line.strip())
        if match is None:
            continue
        try:
            value = float(match["value"])
        except ValueError:
            continue
        yield Sample(match["name"], dict(_LABEL.findall(match["labels"] or "")), value)
