"""A Hugging Face repository's metadata as a folder: config, shard index and safetensors headers, never weights.

Everything goes through ``huggingface_hub``, which honours HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE and proxies.
Shards become sparse files: the header that was fetched, then a hole of the size the server states, so that the reader
of local folders checks them as it checks any other.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing import TimeoutError as LateError
from multiprocessing.pool import ThreadPool
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from planner.catalog.hub_requests import UNREACHABLE, LaterError, Repository
from planner.errors import InvalidConfig, SourceUnavailable

_INDEX = "model.safetensors.index.json"
_BESIDE = ("hf_quant_config.json", "modules.json", _INDEX)
_WHOLE = "model.safetensors"
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_WEIGHTS = re.compile(r"[^/]+\.safetensors|pytorch_model[^/]*\.bin|[^/]+\.pth?")
_MAX_SHARDS = 4096
_REQUESTS_AT_ONCE = 8
# All answers have to be there by then, whether a hub is silent or sends a byte a second; each
# eight requests give another second, as a checkpoint of hundreds of files needs.
_ALL_SECONDS = 7.0
_SECONDS_A_REQUEST = 1 / 8


@contextmanager
def metadata_folder(
    repository: str, revision: str | None = None, *, offline: bool = False
) -> Iterator[tuple[Path, str, Mapping[str, Any]]]:
    """Provide a temporary folder with a repository's metadata, the commit it is from, and the hub's card of it.

    The commit is empty and the card has no keys where they are not known; with ``offline`` only the library's own cache
    is read. A server that does not answer in time is given up.

    Raises:
        SourceUnavailable: the repository is absent, gated, rate-limited, not reachable, or holds no weights.
        InvalidConfig: a file lies about its size, is too large, or would lead out of the folder.
    """
    hub = Repository(repository, revision, offline)
    with (
        TemporaryDirectory(prefix="planner-hub-", ignore_cleanup_errors=True) as name,
        ThreadPool(_REQUESTS_AT_ONCE) as pool,
    ):
        folder, hurry = Path(name), _Hurry(pool, hub.where)
        hurry.all(partial(hub.required_file, "config.json", folder))
        card, *_ = hurry.all(hub.card, *(partial(hub.small_file, file, folder) for file in _BESIDE))
        index = folder / _INDEX
        shards = _shard_names(index, hub.where) if index.is_file() else _listed_shards(card, hub)
        hurry.all(*(partial(hub.header, file, folder / file, required=file != _WHOLE) for file in shards))
        yield folder, hub.commit, card


class _Hurry:
    """Requests side by side that are left behind, not waited for, when their time is over."""

    def __init__(self, pool: ThreadPool, where: str) -> None:
        self._pool, self._where, self._begun = pool, where, time.monotonic()
        self._seconds = _ALL_SECONDS

    def all(self, *asks: Callable[[], Any]) -> list[Any]:
        """Ask everything; return the answers.

        Raises:
            SourceUnavailable: they are not there in time.
            PlannerError: what the first one raises that fails.
        """
        self._seconds += len(asks) * _SECONDS_A_REQUEST
        left = self._begun + self._seconds - time.monotonic()
        try:
            return self._pool.map_async(_asked, asks, chunksize=1).get(max(left, 0))
        except LateError:
            reason = f"has not answered everything within {self._seconds:.0f} s"
            raise LaterError(self._where, reason, UNREACHABLE) from None


def _asked(ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - of whatever is asked
    return ask()


def _listed_shards(card: Mapping[str, Any], hub: Repository) -> list[str]:
    """Return the shards of a repository without an index, or the one file that small models have.

    Raises:
        SourceUnavailable: the hub lists its files, and none of them is one of weights that the engine loads.
    """
    siblings = card.get("siblings")
    rows = siblings if isinstance(siblings, list) else []
    names = [row.get("rfilename") for row in rows if isinstance(row, dict)]
    files = [name for name in names if isinstance(name, str)]
    if files and not any(_WEIGHTS.fullmatch(file) for file in files):
        raise SourceUnavailable(hub.where, *_without_weights(files), found=True)
    return sorted(file for file in files if _SHARD.fullmatch(file))[:_MAX_SHARDS] or [_WHOLE]


def _without_weights(files: list[str]) -> tuple[str, str]:
    """Return why a repository cannot be served, and what to do."""
    if any(file.endswith(".gguf") for file in files):
        return "holds GGUF files for llama.cpp", "name the checkpoint that they were made from"
    kinds = sorted({PurePosixPath(file).suffix for file in files} & {".onnx", ".h5", ".msgpack", ".tflite", ".npz"})
    return "holds no weights that vLLM loads" + (f", only {', '.join(kinds)}" if kinds else ""), (
        "name a checkpoint with safetensors"
    )


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
