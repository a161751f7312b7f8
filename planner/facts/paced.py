"""Paced: how fast one server of the user's own was under a load test, beside what was expected of it."""

from msgspec import Struct


class Paced(Struct, frozen=True, kw_only=True):
    """One load test of the user's own on a kind of device.

    ``model`` and ``split`` are keys of ``planner.memory.learnt``, ``host_factor`` is that of the engine's era. The
    others are thousandths: what was measured of what was expected, rounded to the slower side; times above 1000 and
    output below it are slower. ``source`` names the result.
    """

    model: str
    split: tuple[int | str | bool, ...]
    host_factor: float
    tpot_permille: int
    ttft_permille: int
    output_permille: int
    source: str
