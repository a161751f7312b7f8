"""An inventory -> the GPUs of a fleet file; comments say where each figure is from, and what is left out."""

import re
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from planner.errors import InputError, Problem
from planner.inventory.machine import Inventory, LeftOut
from planner.inventory.pools import MachinePool, natural, pools, too_many
from planner.units import MIB, format_gib
from planner.yaml_text import yaml_text

_WIDTH = 118
_HOSTS, _HOLDERS, _GROUPS = 8, 6, 200


def hardware_text(inventory: Inventory) -> str:
    """Return ``nodes`` of a fleet file, and what the file should say of its cluster.

    Raises:
        InputError: no GPU is left that a plan could use; the reasons are in it.
    """
    left_out = (*inventory.left_out, *too_many(inventory.devices))
    found = pools(inventory.devices)
    if not found:
        raise InputError(tuple(_nothing(inventory, left_out)))
    lines = list(_comment(f"From {inventory.sources[0]}, saved in {inventory.sources[1]}.", ""))
    lines.append("nodes:")
    for pool in found:
        lines += _pool(pool)
    for text in _left_out(left_out):
        lines += _comment(text, "")
    if inventory.without_gpus:
        lines += _comment(f"Without GPUs: {_count(inventory.without_gpus, 'node')}.", "")
    for remark in inventory.remarks:
        lines += _comment(remark, "")
    if inventory.dra:
        lines += ["# NVIDIA's DRA driver gives out these GPUs, not the device plugin.", "cluster: {dra: true}"]
    return "\n".join(lines) + "\n"


def hosts_text(hosts: Sequence[str], most: int = _HOSTS) -> str:
    """Return names in their order, those that count on as one: ``gpu-01 to gpu-64, spare and 3 more``."""
    runs: list[list[str]] = []
    for host in hosts:
        if runs and _follows(runs[-1][-1], host):
            runs[-1].append(host)
        else:
            runs.append([host])
    shown = runs[:most]
    words = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(run) for run in shown]
    more = sum(len(run) for run in runs[most:])
    return ", ".join(words) + (f" and {more:,} more" if more else "")


def _follows(one: str, other: str) -> bool:
    first, second = (re.fullmatch(r"(.*?)([0-9]{1,18})([^0-9]*)", name) for name in (one, other))
    if not first or not second or (first[1], first[3]) != (second[1], second[3]):
        return False
    return int(second[2]) == int(first[2]) + 1 and (len(first[2]) == len(second[2]) or first[2][0] != "0")


def _pool(pool: MachinePool) -> Iterator[str]:
    """Yield what is said about a pool, and the pool."""
    one, count = pool.sample, len(pool.hosts)
    where = f"Zone {one.zone}: " if one.zone else ""
    free = f"{one.count} of {one.total}" if one.count < one.total else f"{one.count}"
    each = " each" if count > 1 else ""
    names = f"; {pool.name}-1 to {pool.name}-{count} in this order" if count > 1 else ""
    yield from _comment(f"{where}{hosts_text(pool.hosts)}, {free} x {one.called}{each}{names}.", "  ")
    if one.taints:
        yield from _comment(f"Tainted {', '.join(one.taints)}, which keeps no pod of a fleet away.", "  ")
    if one.memory_in_use_bytes:
        yield from _comment(f"Others hold up to {format_gib(one.memory_in_use_bytes)} of each, rounded up.", "  ")
    if pool.held:
        yield from _comment(f"{_some(pool.held)}.", "  ")
    data: dict[str, Any] = {"gpu": one.gpu.name}
    data |= {"gpus": one.count} if one.count > 1 else {}
    data |= {"count": count} if count > 1 else {}
    data |= {"index": one.index} if one.index else {}
    data |= {"memory_in_use": f"{one.memory_in_use_bytes // MIB}MiB"} if one.memory_in_use_bytes else {}
    data |= {"node": pool.node} if pool.node and pool.node != pool.name else {}
    yield f"  {pool.name}: {yaml_text(data, flow=True).strip()}"


def _left_out(left_out: Sequence[LeftOut]) -> Iterator[str]:
    """Yield what is left out, machines with the same reason together."""
    groups: dict[tuple[str, str], list[LeftOut]] = defaultdict(list)
    for one in left_out:
        groups[one.reason, one.called].append(one)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    for (reason, called), members in ordered[:_GROUPS]:
        hosts = sorted({one.host for one in members}, key=natural)
        total = sum(one.count for one in members)
        held = _some([line for one in members for line in one.held])
        yield f"Left out: {hosts_text(hosts)}, {total:,} x {called}: {reason}{f' ({held})' if held else ''}."
    if len(ordered) > _GROUPS:
        yield f"Left out for {len(ordered) - _GROUPS} other reasons: more nodes."


def _nothing(inventory: Inventory, left_out: Sequence[LeftOut]) -> Iterator[Problem]:
    files = inventory.sources[1]
    reasons = list(_left_out(left_out))
    if not reasons:
        nodes = _count(inventory.without_gpus, "node")
        yield Problem(files, 0, 0, "", f"no GPU that a plan could use: {nodes} without GPUs")
    for number, reason in enumerate(reasons[:20], start=1):
        yield Problem(files, 0, 0, "", f"no GPU that a plan could use, reason {number}: {reason[10:]}")


def _some(lines: Sequence[str]) -> str:
    more = len(lines) - _HOLDERS
    return "; ".join(lines[:_HOLDERS]) + (f"; and {more:,} more" if more > 0 else "")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _comment(text: str, indent: str) -> list[str]:
    prefix = f"{indent}# "
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=prefix,
        subsequent_indent=prefix,
        break_long_words=False,
        break_on_hyphens=False,
    )
