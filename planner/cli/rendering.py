"""What ``planner render`` does with a plan file: check the plan, and write its files again.

This loads the templates and everything that checks a plan.
"""

from pathlib import Path

import click
from msgspec import Struct

from planner.catalog import load_catalog
from planner.check import require
from planner.cli.exit_codes import EXIT_FILES_DIFFER, EXIT_PROVEN
from planner.cli.lock import PLAN_FILE, say_stale, with_targets
from planner.cli.output import check_files, plan_files, write_files
from planner.cli.stdin import folder_of
from planner.fleet import load_fleet
from planner.plan import plan_from_yaml


class Asked(Struct, frozen=True, kw_only=True):
    """What is asked for: ``source`` is a plan file or its folder; ``out`` gets the files, by default that folder."""

    source: Path
    fleet_file: Path | None
    out: Path | None
    catalog_folders: tuple[Path, ...]
    templates: Path | None
    targets: tuple[str, ...]
    check: bool
    dry_run: bool
    force: bool
    as_json: bool


def rendered(asked: Asked) -> int:
    """Check a plan, write its files, and return the exit code."""
    file = asked.source / PLAN_FILE if asked.source.is_dir() else asked.source
    folder = asked.out or folder_of(file)
    if folder is None:
        raise click.UsageError("standard input is in no folder: name one with --out")
    catalog = load_catalog(overlays=asked.catalog_folders)
    plan = plan_from_yaml(file)
    fleet = load_fleet(asked.fleet_file or file.parent / "fleet.yaml", catalog)
    changed = say_stale(plan, fleet, catalog, file.parent)
    require(plan, fleet, catalog, objective=not changed)
    files = plan_files(with_targets(plan, asked.targets or plan.lock.targets), asked.templates)
    if asked.check:
        check_files(plan, plan, files, folder, as_json=asked.as_json)
    elif write_files(plan, files, folder, force=asked.force, dry_run=asked.dry_run, as_json=asked.as_json):
        return EXIT_FILES_DIFFER
    return EXIT_PROVEN
