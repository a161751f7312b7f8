"""Which paths of a server the engine's own key check covers; all others answer whoever asks."""

from planner.engine.versions import parse_version

_GUARDED = (
    ((0, 27), ("/v1", "/v2", "/inference", "/cohere")),
    ((0, 22), ("/v1", "/v2", "/inference")),
    ((0,), ("/v1",)),
)
"""``GUARDED_PREFIX`` of the engine: ``entrypoints/serve/middleware/authenticate.py`` 0.29.0 to 0.33.0,
``entrypoints/serve/utils/server_utils.py`` 0.23.0 to 0.28.0, ``entrypoints/openai/server_utils.py`` 0.22.0; ``/v1``
alone in 0.10.2 to 0.21.0. Read in 0.10.2 to 0.13.0, 0.17.0 and 0.19.0 to 0.33.0."""


def guarded_prefixes(version: str) -> tuple[str, ...]:
    """Return what a path begins with that needs the key in an engine version.

    Raises:
        UnknownName: the text is not a version.
    """
    return next(prefixes for since, prefixes in _GUARDED if parse_version(version) >= since)
