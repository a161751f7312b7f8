"""Switching: how long a server takes to leave its memory to others, and to come back.

A sleeping server of the engine copies its weights over the GPU's own link to the machine, or reads them again; a
stopped one starts anew. The fast end is what no machine beats, the slow end what one must be prepared for.
"""

import re

from msgspec import Struct

from planner.engine.starts import StartTimes
from planner.facts.gpu import GPU
from planner.units import ceil_div

DRAIN_SECONDS = 30
"""Seconds that a stopping server may use to finish what it is answering (vLLM's --shutdown-timeout; its default
aborts)."""

STOP_MARGIN_SECONDS = 30
"""What remains of a stop after the drain, before the process is killed."""

_LANE_MB_PER_SECOND = {3: 985, 4: 1969, 5: 3938}
"""Line rate of one lane each way by generation: 8, 16 and 32 GT/s of which 128 of 130 bits are data (PCI-SIG)."""

_GENERATIONS = {7: 3, 8: 4, 9: 5, 10: 5, 12: 5}
"""PCIe generation of data-centre GPUs by compute capability, where the catalog says how they are linked instead."""

_SLOW_PART = 4
"""The slow end has half of the lanes, as boards give to each of two cards, and half of their rate is lost."""


class Span(Struct, frozen=True, kw_only=True):
    """A time in milliseconds with its fast and its slow end."""

    low_ms: int
    high_ms: int

    def __add__(self, other: "Span") -> "Span":
        """One after the other."""
        return Span(low_ms=self.low_ms + other.low_ms, high_ms=self.high_ms + other.high_ms)


class SwitchTimes(Struct, frozen=True, kw_only=True):
    """How long a server takes to ``leave`` its GPUs to others and to ``enter`` them again.

    The first time it leaves takes up to ``first_ms`` longer: it pins the machine's memory then.
    """

    leave: Span
    enter: Span
    first_ms: int = 0


def link_mb_per_second(gpu: GPU) -> int:
    """Return the line rate of a GPU's link to the machine in 10**6 bytes per second."""
    named = re.match(r"PCIe ([345])\.0 x([0-9]+)", gpu.interconnect)
    if named:
        return _LANE_MB_PER_SECOND[int(named[1])] * int(named[2])
    major = gpu.compute_capability[0] if gpu.compute_capability else 0
    return _LANE_MB_PER_SECOND[_GENERATIONS.get(major, 3)] * 16


def switch_times(
    level: int, gpu: GPU, times: StartTimes, ranks: int, rank_bytes: int, pinned_bytes: int
) -> SwitchTimes:
    """Return the times of a server whose ``ranks`` GPUs hold weights of ``rank_bytes`` each, by its level of sleep.

    On level 0 it is stopped and started. ``pinned_bytes`` of the machine's memory hold the weights on level 1.
    """
    link = link_mb_per_second(gpu)
    call = Span(low_ms=0, high_ms=times.sleep_call_milliseconds)
    over = Span(low_ms=_ms(rank_bytes, link), high_ms=_ms(rank_bytes * ranks, max(1, link // _SLOW_PART)))
    read = times.read_mb_per_second, times.fast_read_mb_per_second
    if level == 1:
        return SwitchTimes(leave=call + over, enter=call + over, first_ms=_ms(pinned_bytes, times.pin_mb_per_second))
    if level == 2:
        again = Span(low_ms=over.low_ms, high_ms=over.high_ms + _ms(rank_bytes * ranks, read[0]))
        return SwitchTimes(leave=call, enter=call + again)
    stop = Span(low_ms=0, high_ms=(DRAIN_SECONDS + STOP_MARGIN_SECONDS) * 1000)
    first = times.fast_seconds * 1000 + _ms(rank_bytes * ranks, read[1])
    return SwitchTimes(leave=stop, enter=Span(low_ms=first, high_ms=times.later(rank_bytes * ranks) * 1000))


def _ms(size_bytes: int, mb_per_second: int) -> int:
    return ceil_div(size_bytes, mb_per_second * 1000)
