"""``planner verify --cluster``: hold what kubectl saved of a cluster against a plan, and print where it is not so."""

from collections.abc import Sequence
from pathlib import Path

from planner.cli.verify_live import print_findings
from planner.inventory.documents import uncollected
from planner.live.scheduled import scheduled
from planner.plan import plan_from_yaml


def verify_cluster(folder: Path, files: Sequence[Path], as_json: bool) -> int:
    """Print what is scheduled beside what the plan in a folder has, and return the exit code."""
    plan = plan_from_yaml(folder / "plan.yaml")
    with uncollected():
        found = scheduled(plan, files)
    return print_findings(found, as_json)
