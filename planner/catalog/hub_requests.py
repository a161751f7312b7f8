"""Requests to a Hugging Face hub about one repository: small files whole, the heads of large ones, its card.

A hub may be slow, refuse, or lie: sizes are bounds, not promises, and what is read is never more than was asked for.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from planner.checkpoint.folder import MAX_JSON
from planner.checkpoint.safetensors import MAX_HEADER
from planner.errors import InvalidConfig, SourceUnavailable

# Far above the largest file of any checkpoint, and what a file system holds as a hole.
_MAX_FILE = 1 << 43
# Most headers fit into the first request; the ten largest of current checkpoints have 0.1 to 7 MiB.
_FIRST_BYTES = 64 << 10
# Seconds to wait before asking again a server that is busy or dropped the connection.
_PAUSES = (0.2, 0.5, 1.0)
_BUSY = (408, 429, 500, 502, 503, 504)
_WHOLE_FILE = 200
_NOT_FOUND = 404
# A server that is silent for so long, or that sends less than this rate over it, is given up.
_PATIENCE_SECONDS = 4.0
_SLOWEST_BYTES_PER_SECOND = 16_000
_MAX_CARD = 4 << 20
_COMMIT = re.compile(r"[0-9a-f]{40}")
UNREACHABLE = "check the network, HF_ENDPOINT and proxies; --offline asks nobody, `planner catalog add` keeps an entry"
"""What to do when a hub does not answer."""
_AGAIN = "try again later, or check HF_ENDPOINT and proxies"
# What says that a repository without config.json holds something else than a model that vLLM serves.
_OTHERS = {
    "model_index.json": ("holds a diffusion pipeline", "vLLM serves language models; no plan is made for diffusion"),
    "adapter_config.json": ("holds a LoRA adapter", "plan its base model; the adapter is loaded beside it"),
}


class Repository:
    """One repository of the hub at one revision."""

    def __init__(self, repository: str, revision: str | None, offline: bool) -> None:
        import huggingface_hub  # takes a while to load
        from huggingface_hub import constants, errors, utils

        # The library exports its public helpers lazily, which a type checker cannot follow.
        self._api: Any = huggingface_hub
        self._errors: Any = errors
        self._utils: Any = utils
        self._offline = offline or bool(constants.HF_HUB_OFFLINE)
        self._endpoint: str = constants.ENDPOINT
        self.repository, self.revision = repository, revision
        self.where = f"hf://{repository}"
        self.commit = ""

    def required_file(self, file: str, folder: Path) -> None:
        """Put a JSON file into the folder without which nothing is known.

        Raises:
            SourceUnavailable: there is none; says what else the repository holds.
            InvalidConfig: it is too large for a JSON file of a model.
        """
        try:
            self._fetch(file, folder)
        except _NoFileError as error:
            told = (error.reason, error.hint) if error.reason else self._without(file)
            raise SourceUnavailable(self.where, *told, found=not (error.reason or self._offline)) from None

    def small_file(self, file: str, folder: Path) -> None:
        """Put a JSON file into the folder if the repository has one of the name.

        Raises:
            InvalidConfig: it is too large for a JSON file of a model.
        """
        with suppress(_NoFileError):
            self._fetch(file, folder)

    def _fetch(self, file: str, folder: Path) -> None:
        size = self._size(file)
        if size > MAX_JSON:
            raise InvalidConfig(f"{self.where}/{file}", "", f"{size} bytes is too large for a JSON file of a model")
        content = self._cached(file).read_bytes() if self._offline else self._get(self._url(file), 0, size)[0]
        (folder / file).write_bytes(content)

    def _without(self, file: str) -> tuple[str, str]:
        """Return why there is no such file, and what to do."""
        if self._offline:
            return f"{file} is not in the cache", "nobody was asked: HF_HUB_OFFLINE is set, or --offline given"
        if self.repository.casefold().endswith("gguf"):
            return "holds GGUF files for llama.cpp", "name the checkpoint that they were made from"
        for name, told in _OTHERS.items():
            with suppress(_NoFileError):
                self._size(name)
                return told
        return f"has no {file}", "only checkpoints with a config.json can be sized"

    def card(self) -> Mapping[str, Any]:
        """Return what the hub's interface says of the repository: tags, task, files; nothing if it has no such page.

        Raises:
            SourceUnavailable: it does not answer now.
        """
        if self._offline:
            return {}
        try:
            body, _ = self._get(f"{self._endpoint}/api/models/{self.repository}", 0, _MAX_CARD)
            found = json.loads(body)
        except LaterError:
            raise  # what is known in part is not kept
        except (SourceUnavailable, InvalidConfig, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def header(self, file: str, target: Path, *, required: bool) -> None:
        """Write a sparse file: the header of a shard, and a hole as large as its tensors.

        Raises:
            SourceUnavailable: there is no such file, though one is ``required``.
            InvalidConfig: the header is longer than the file or than the format allows.
        """
        try:
            head, total = self._head(file)
        except _NoFileError:
            if not required:
                return
            hint = "its index names that file; the upload may not be complete" if not self._offline else ""
            place = "in the cache" if self._offline else "there"
            raise SourceUnavailable(self.where, f"{file} is not {place}", hint, found=True) from None
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as stream:
            stream.write(head)
            stream.truncate(total)

    def _head(self, file: str) -> tuple[bytes, int]:
        with self._translated():
            cached = self._api.try_to_load_from_cache(self.repository, file, revision=self.commit or self.revision)
        if isinstance(cached, str):
            return _local_head(Path(cached))
        if self._offline:
            raise _NoFileError(self.where, "")
        return self._remote_head(file)

    def _remote_head(self, file: str) -> tuple[bytes, int]:
        head, total = self._range(file, 0, _FIRST_BYTES)
        length = _header_length(f"{self.where}/{file}", head, total)
        if 8 + length > len(head):
            rest, _ = self._range(file, len(head), 8 + length)
            head += rest
        return head[: 8 + length], total

    def _range(self, file: str, first: int, end: int) -> tuple[bytes, int]:
        """Read bytes ``first`` up to ``end`` of a file; no more is read even if the server sends all of it."""
        body, total = self._get(self._url(file), first, end)
        if total is None:
            raise InvalidConfig(f"{self.where}/{file}", "", "the server does not say how large the file is")
        return body, total

    def _url(self, file: str) -> str:
        url: str = self._api.hf_hub_url(self.repository, file, revision=self.commit or self.revision)
        return url

    def _get(self, url: str, first: int, end: int) -> tuple[bytes, int | None]:
        """Read bytes ``first`` up to ``end`` of an address; return them and the whole size, if the server says it."""
        headers = {**self._utils.build_hf_headers(), "Range": f"bytes={first}-{end - 1}", "Accept-Encoding": "identity"}
        ask = self._utils.get_session().stream
        for pause in (*_PAUSES, None):
            try:
                with self._translated(), ask("GET", url, headers=headers, timeout=_PATIENCE_SECONDS) as got:
                    self._utils.hf_raise_for_status(got)
                    skip = first if got.status_code == _WHOLE_FILE else 0
                    body = self._at_most(got.iter_bytes(), skip + end - first)[skip:]
                    return body, self._total_bytes(got.headers, first)
            except _TransientError:
                if pause is None:
                    raise
                time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _at_most(self, chunks: Iterator[bytes], count: int) -> bytes:
        """Read so many bytes, and no longer than a slow line needs for them."""
        body, begun = bytearray(), time.monotonic()
        for chunk in chunks:
            body += chunk
            waited = time.monotonic() - begun
            if len(body) >= count:
                break
            if waited > _PATIENCE_SECONDS and len(body) < waited * _SLOWEST_BYTES_PER_SECOND:
                raise LaterError(self.where, "the hub sends too slowly", UNREACHABLE)
        return bytes(body[:count])

    def _total_bytes(self, headers: Mapping[str, str], first: int) -> int | None:
        """Return the size of a whole file from the headers of a partial or whole answer, if they say it."""
        span = headers.get("Content-Range", "")
        if span and re.match(rf"bytes {first}-", span) is None:
            raise InvalidConfig(self.where, "", f"the server sends {span!r} where bytes from {first} on were asked for")
        text = span.rpartition("/")[2] if span else headers.get("Content-Length", "")
        return int(text) if text.isdecimal() else None

    def _size(self, file: str) -> int:
        """Return the bytes of a JSON file as stated, else as many as one may have; notes the commit."""
        if self._offline:
            return self._cached(file).stat().st_size
        with self._translated():
            metadata = self._api.get_hf_file_metadata(self._url(file), timeout=_PATIENCE_SECONDS)
        commit = metadata.commit_hash or ""
        if commit and not _COMMIT.fullmatch(commit):
            raise SourceUnavailable(self.where, f"the hub calls {commit[:80]!r} a commit, which is none", UNREACHABLE)
        self.commit = self.commit or commit
        size: int | None = metadata.size
        return MAX_JSON if size is None or size < 0 else size

    def _cached(self, file: str) -> Path:
        """Return the file in the library's own cache."""
        found = self._api.try_to_load_from_cache(self.repository, file, revision=self.revision)
        if not isinstance(found, str):
            raise _NoFileError(self.where, "")
        return Path(found)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what the library raises into our errors."""
        errors = self._errors
        try:
            yield
        except errors.EntryNotFoundError:
            raise _NoFileError(self.where, "") from None
        except errors.GatedRepoError:
            raise SourceUnavailable(self.where, "is gated", "accept its terms on the hub and set HF_TOKEN") from None
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError):
            hint = "check the spelling and --revision; a private repository needs HF_TOKEN"
            raise SourceUnavailable(self.where, "no such repository or revision", hint) from None
        except errors.HfHubHTTPError as error:
            status = getattr(error.response, "status_code", 0)
            kind = _TransientError if status in _BUSY else _NoFileError if status == _NOT_FOUND else SourceUnavailable
            raise kind(self.where, *_REFUSALS.get(status, (f"the hub answered {status}", _AGAIN))) from None
        except (errors.HTTPError, OSError, ValueError) as error:  # a ValueError: an address that is none
            if any(kind.__name__ == "TimeoutException" for kind in type(error).__mro__):
                reason = f"does not answer within {_PATIENCE_SECONDS:.0f} s"
                raise LaterError(self.where, reason, UNREACHABLE) from None
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise _TransientError(self.where, f"cannot be reached: {reason}", UNREACHABLE) from None


class LaterError(SourceUnavailable):
    """What may go well at another time."""


class _TransientError(LaterError):
    """What may go away by itself at once: a busy server, a dropped connection."""


class _NoFileError(SourceUnavailable):
    """The repository has no file of that name; with a reason, it may not be there either."""


_REFUSALS = {
    401: ("needs a token", "set HF_TOKEN"),
    403: ("is not yours to read", "accept its terms on the hub and set HF_TOKEN"),
    404: ("has no such repository or file", "check the spelling and HF_ENDPOINT"),
    429: ("the hub limits how often you may ask", "wait, or set HF_TOKEN for a higher limit"),
}


def _local_head(path: Path) -> tuple[bytes, int]:
    total = path.stat().st_size
    with path.open("rb") as stream:
        prefix = stream.read(8)
        return prefix + stream.read(_header_length(str(path), prefix, total)), total


def _header_length(where: str, head: bytes, total: int) -> int:
    length = int.from_bytes(head[:8], "little")
    if total > _MAX_FILE:
        raise InvalidConfig(where, "", f"{total} bytes are more than any file of a checkpoint has")
    if len(head) < 8 or length > min(MAX_HEADER, total - 8):
        raise InvalidConfig(where, "header", f"says {length} bytes, which a file of {total} bytes cannot hold")
    return length
