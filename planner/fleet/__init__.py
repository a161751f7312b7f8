"""Fleet: fleet.yaml as the user writes it in; what is to be served, on what, with every default filled in, out.

values   single values: tokens, bytes, percentages, names
schema   the maps of the file, and their JSON Schema
load     file -> Fleet, with all problems at once
review   rules that span several keys, and look-ups in the catalog
pools    the GPUs a fleet has, and where its roles may be on them
turns    which roles take turns on the same memory
scenario named changes to a fleet
lone     which key a single value in place of a map is of
price    what a fleet costs for an hour
cluster  what the fleet's cluster can do
facts    Fleet, Pool and Role
"""

from planner.fleet.cluster import USUAL, Cluster
from planner.fleet.fleet import (
    BETWEEN_TURNS,
    DEEP_SLEEP,
    ROUTER_PORT,
    SLEEP,
    STOP,
    Figure,
    Fleet,
    Pool,
    Role,
    TimeShare,
)
from planner.fleet.load import load_fleet, read_fleet
from planner.fleet.price import Price, hourly_price, priced
from planner.fleet.scenario import GPU_OPTION, LOSE_OPTION, SET_OPTION, Edit, Scenario, fleets, scenarios
from planner.fleet.schema import OWN_TASKS, POOLING_TASKS, TASKS, TRANSCRIPTION, json_schema
from planner.fleet.shared import may_share, merged
from planner.fleet.turns import sleep_refusal
from planner.fleet.written import FleetFile

__all__ = [
    "BETWEEN_TURNS",
    "DEEP_SLEEP",
    "GPU_OPTION",
    "LOSE_OPTION",
    "OWN_TASKS",
    "POOLING_TASKS",
    "ROUTER_PORT",
    "SET_OPTION",
    "SLEEP",
    "STOP",
    "TASKS",
    "TRANSCRIPTION",
    "USUAL",
    "Cluster",
    "Edit",
    "Figure",
    "Fleet",
    "FleetFile",
    "Pool",
    "Price",
    "Role",
    "Scenario",
    "TimeShare",
    "fleets",
    "hourly_price",
    "json_schema",
    "load_fleet",
    "may_share",
    "merged",
    "priced",
    "read_fleet",
    "scenarios",
    "sleep_refusal",
]
