"""Fleet: fleet.yaml as the user writes it -> what has to be served, on what, with every default filled in.

values   single values: tokens, bytes, percentages, names
schema   the maps of the file, and their JSON Schema
load     file -> Fleet, with all problems at once
review   rules that span several keys, and look-ups in the catalog
pools    the GPUs a fleet has, and where its roles may be on them
facts    Fleet, Pool and Role
"""

from planner.fleet.facts import ROUTER_PORT, Figure, Fleet, Pool, Role
from planner.fleet.load import load_fleet
from planner.fleet.schema import POOLING_TASKS, TASKS, json_schema

__all__ = ["POOLING_TASKS", "ROUTER_PORT", "TASKS", "Figure", "Fleet", "Pool", "Role", "json_schema", "load_fleet"]
