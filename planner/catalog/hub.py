"""A Hugging Face repository's metadata as a folder: config, shard index and safetensors headers, never weights.

Everything goes through ``huggingface_hub``, which honours HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE and proxies.
Shards become sparse files: the header that was fetched, then a hole of the size the server states, so that the reader
of local folders checks them as it checks any other.
"""

import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from planner.errors import InvalidConfig, SourceUnavailable

_SMALL_FILES = ("config.json", "hf_quant_config.json", "modules.json", "model.safetensors.index.json")
_WHOLE = "model.safetensors"
# A config is a few KiB and an index a few MiB; safetensors headers may have 100 MB by their own format rules.
_MAX_JSON = 64 << 20
_MAX_HEADER = 100_000_000
_MAX_SHARDS = 4096
# Most headers fit into the first request; the ten largest of current checkpoints have 0.1 to 7 MiB.
_FIRST_BYTES = 64 << 10
# Seconds to wait before asking again a server that is busy or dropped the connection.
_PAUSES = (0.2, 0.5, 1.0)
_BUSY = (408, 429, 500, 502, 503, 504)
_WHOLE_FILE = 200
# A server that is silent for so long, or that sends less than this rate over it, is given up.
_PATIENCE_SECONDS = 4.0
_SLOWEST_BYTES_PER_SECOND = 16_000
_HEADERS_AT_ONCE = 8
_MAX_CARD = 4 << 20
# What says that a repository without config.json holds something else than a model that vLLM serves.
_OTHERS = {
    "model_index.json": ("holds a diffusion pipeline", "vLLM serves language models; no plan is made for diffusion"),
    "adapter_config.json": ("holds a LoRA adapter", "plan its base model; the adapter is loaded beside it"),
}


@contextmanager
def metadata_folder(
    repository: str, revision: str | None = None, *, offline: bool = False
) -> Iterator[tuple[Path, str, Mapping[str, Any]]]:
    """Provide a temporary folder with a repository's metadata, the commit it is from, and the hub's card of it.

    The commit is empty and the card has no keys where they are not known; with ``offline`` only the library's own cache
    is read. A server that does not answer is given up after some seconds.

    Raises:
        SourceUnavailable: the repository is absent, gated, rate-limited or not reachable.
        InvalidConfig: a file lies about its size, is too large, or would lead out of the folder.
    """
    hub = _Hub(repository, revision, offline)
    with TemporaryDirectory(prefix="planner-hub-") as name:
        folder = Path(name)
        present = [file for file in _SMALL_FILES if hub.small_file(file, folder, required=file == "config.json")]
        if "model.safetensors.index.json" in present:
            shards = _shard_names(folder / "model.safetensors.index.json", hub.where)
        else:
            shards = [_WHOLE] if hub.has(_WHOLE) else []
        with ThreadPoolExecutor(_HEADERS_AT_ONCE) as pool:
            list(pool.map(hub.header, shards, (folder / shard for shard in shards)))
        yield folder, hub.commit, hub.card()


def _shard_names(index: Path, where: str) -> list[str]:
    """Return the shards an index names; a name that leads elsewhere is refused before anything is asked for."""
    try:
        weight_map = json.loads(index.read_bytes()).get("weight_map")
        names = sorted(set(weight_map.values()))
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise InvalidConfig(where, "weight_map", "expected an object that maps tensors to files") from None
    for name in names:
        parts = PurePosixPath(name).parts if isinstance(name, str) else ()
        if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
            raise InvalidConfig(where, "weight_map", f"{name!r} is not a file name inside the repository")
    if len(names) > _MAX_SHARDS:
        raise InvalidConfig(where, "weight_map", f"{len(names)} shards are more than any checkpoint has")
    return names


class _Hub:
    """One repository at one revision."""

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

    def has(self, file: str) -> bool:
        """Whether the repository has a file."""
        return self._size(file) is not None

    def small_file(self, file: str, folder: Path, *, required: bool) -> bool:
        """Put a JSON file into the folder; False when the repository has none of the name.

        Raises:
            InvalidConfig: it is too large for a JSON file of a model.
        """
        size = self._size(file)
        if size is None and required:
            raise SourceUnavailable(self.where, *self._without(file), found=not self._offline)
        if size is None:
            return False
        if size > _MAX_JSON:
            raise InvalidConfig(f"{self.where}/{file}", "", f"{size} bytes is too large for a JSON file of a model")
        if self._offline:
            content = Path(self._api.try_to_load_from_cache(self.repository, file, revision=self.revision)).read_bytes()
        else:
            content, _ = self._range(file, 0, size)
        (folder / file).write_bytes(content)
        return True

    def _without(self, file: str) -> tuple[str, str]:
        """Return why there is no such file, and what to do."""
        if self._offline:
            return f"{file} is not in the cache", "nobody was asked: HF_HUB_OFFLINE is set, or --offline given"
        if self.repository.casefold().endswith("gguf"):
            return "holds GGUF files for llama.cpp", "name the checkpoint that they were made from"
        other = next((told for name, told in _OTHERS.items() if self.has(name)), None)
        return other or (f"has no {file}", "only checkpoints with a config.json can be sized")

    def card(self) -> Mapping[str, Any]:
        """Return what the hub's interface says of the repository: tags, task, base model; nothing if it does not."""
        if self._offline:
            return {}
        try:
            body, _ = self._get(f"{self._endpoint}/api/models/{self.repository}", 0, _MAX_CARD)
            found = json.loads(body)
        except (SourceUnavailable, InvalidConfig, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def header(self, file: str, target: Path) -> None:
        """Write a sparse file: the header of a shard, and a hole as large as its tensors.

        Raises:
            InvalidConfig: the header is longer than the file or than the format allows.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._translated():
            cached = self._api.try_to_load_from_cache(self.repository, file, revision=self.commit or self.revision)
        if isinstance(cached, str):
            head, total = _local_head(Path(cached))
        elif self._offline:
            raise SourceUnavailable(self.where, f"{file} is not in the cache", "HF_HUB_OFFLINE is set")
        else:
            head, total = self._remote_head(file)
        with target.open("wb") as stream:
            stream.write(head)
            stream.truncate(total)

    def _remote_head(self, file: str) -> tuple[bytes, int]:
        head, total = self._range(file, 0, _FIRST_BYTES)
        length = _header_length(f"{self.where}/{file}", head, total)
        if 8 + length > len(head):
            rest, _ = self._range(file, len(head), 8 + length)
            head += rest
        return head[: 8 + length], total

    def _range(self, file: str, first: int, end: int) -> tuple[bytes, int]:
        """Read bytes ``first`` up to ``end`` of a file; no more is read even if the server sends all of it."""
        url = self._api.hf_hub_url(self.repository, file, revision=self.commit or self.revision)
        body, total = self._get(url, first, end)
        if total is None:
            raise InvalidConfig(f"{self.where}/{file}", "", "the server does not say how large the file is")
        return body, total

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
                    return body, _total_bytes(got.headers.get("Content-Range"), got.headers.get("Content-Length"))
            except _Transient:
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
                raise SourceUnavailable(self.where, "the hub sends too slowly", _UNREACHABLE)
        return bytes(body[:count])

    def _size(self, file: str) -> int | None:
        """Return the bytes of a file, or None when the repository does not have it; notes the commit."""
        if self._offline:
            cached = self._api.try_to_load_from_cache(self.repository, file, revision=self.revision)
            return Path(cached).stat().st_size if isinstance(cached, str) else None
        url = self._api.hf_hub_url(self.repository, file, revision=self.revision)
        try:
            with self._translated():
                metadata = self._api.get_hf_file_metadata(url, timeout=_PATIENCE_SECONDS)
        except _NoFile:
            return None
        self.commit = self.commit or metadata.commit_hash or ""
        size: int | None = metadata.size
        return size

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what the library raises into our errors."""
        errors = self._errors
        try:
            yield
        except errors.EntryNotFoundError:
            raise _NoFile(self.where, "a file is missing") from None
        except errors.GatedRepoError:
            raise SourceUnavailable(self.where, "is gated", "accept its terms on the hub and set HF_TOKEN") from None
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError):
            hint = "check the spelling and --revision; a private repository needs HF_TOKEN"
            raise SourceUnavailable(self.where, "no such repository or revision", hint) from None
        except errors.HfHubHTTPError as error:
            status = getattr(error.response, "status_code", 0)
            kind = _Transient if status in _BUSY else SourceUnavailable
            raise kind(self.where, *_REFUSALS.get(status, (f"the hub answered {status}", ""))) from None
        except (errors.HTTPError, OSError) as error:
            if any(kind.__name__ == "TimeoutException" for kind in type(error).__mro__):
                reason = f"does not answer within {_PATIENCE_SECONDS:.0f} s"
                raise SourceUnavailable(self.where, reason, _UNREACHABLE) from None
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise _Transient(self.where, f"cannot be reached: {reason}", _UNREACHABLE) from None


_UNREACHABLE = "check the network, HF_ENDPOINT and proxies; --offline asks nobody, `planner catalog add` keeps an entry"


class _Transient(SourceUnavailable):
    """What may go away by itself: a busy server, a dropped connection."""


class _NoFile(SourceUnavailable):
    """The repository has no file of that name."""


_REFUSALS = {
    401: ("needs a token", "set HF_TOKEN"),
    403: ("is not yours to read", "accept its terms on the hub and set HF_TOKEN"),
    429: ("the hub limits how often you may ask", "wait, or set HF_TOKEN for a higher limit"),
}


def _local_head(path: Path) -> tuple[bytes, int]:
    total = path.stat().st_size
    with path.open("rb") as stream:
        prefix = stream.read(8)
        return prefix + stream.read(_header_length(str(path), prefix, total)), total


def _header_length(where: str, head: bytes, total: int) -> int:
    length = int.from_bytes(head[:8], "little")
    if len(head) < 8 or length > min(_MAX_HEADER, total - 8):
        raise InvalidConfig(where, "header", f"says {length} bytes, which a file of {total} bytes cannot hold")
    return length


def _total_bytes(content_range: str | None, content_length: str | None) -> int | None:
    """Return the size of a whole file from the headers of a partial or whole answer."""
    text = content_range.rpartition("/")[2] if content_range else content_length
    return int(text) if text and text.isdigit() else None
