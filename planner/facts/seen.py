"""Seen: what one start-up on a kind of device left for its KV cache, beside what was expected of it."""

from msgspec import Struct


class Seen(Struct, frozen=True, kw_only=True):
    """One start-up of the user's own.

    ``model`` identifies what was loaded, ``split`` how it was shared out and run: both are keys of
    ``planner.memory.learnt``. ``compiled`` is ``cold``, ``warm``, ``eager``, or empty where the log does not say.
    ``more_bytes`` is the KV cache logged less the one expected, or where its size was given and only the weights are
    known (``weights_alone``), the weights expected less those logged. ``outlier`` says that it is beyond the range that
    was stated before anything was learnt. ``source`` names the log.
    """

    version: str
    model: str
    split: tuple[int | str | bool, ...]
    compiled: str
    more_bytes: int
    weights_alone: bool = False
    outlier: bool
    source: str
