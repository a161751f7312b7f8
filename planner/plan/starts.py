"""Starts: how long what a node runs of a server may take to start, as rendered files and moves limit it."""

from planner.engine.starts import JOIN_SECONDS, start_times
from planner.plan.server import ServerPlan
from planner.units import ceil_div


def start_seconds(server: ServerPlan, gpus: int, version: str) -> tuple[int, int]:
    """Return how long the first start on so many GPUs of a node may take and how long a later one, in whole minutes.

    The first compiles. It is what every limit is set to, because nobody can tell in advance whether a start finds
    compiled what it needs: another engine, another model or an empty cache makes it a first one again.
    """
    times = start_times(version)
    weights_bytes = server.ledger.weights_bytes * gpus
    wait = JOIN_SECONDS if len(server.nodes) > 1 else 0
    return _minutes(times.first(weights_bytes) + wait), _minutes(times.later(weights_bytes) + wait)


def longest_start_seconds(server: ServerPlan, version: str) -> int:
    """Return how long the first start of a server may take: that of the node with the most of its GPUs."""
    nodes = [node for node, _ in server.gpus]
    return start_seconds(server, max(map(nodes.count, server.nodes)), version)[0]


def _minutes(seconds: int) -> int:
    return ceil_div(seconds, 60) * 60
