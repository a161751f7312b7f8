"""Commands run in this process, as a user would type them."""

from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from planner.cli import main
from planner.plan import Plan, plan_from_yaml


def run(*arguments: str) -> tuple[int, str]:
    """Return the exit code of a command and what it prints; a traceback fails the test."""
    result = CliRunner(catch_exceptions=False).invoke(main, arguments, prog_name="planner")
    return result.exit_code, result.output


def solved(folder: Path, document: dict[str, Any], *options: str) -> Plan:
    """Return the plan of a fleet that is written into a folder, with the plan beside it."""
    folder.mkdir(exist_ok=True)
    (folder / "fleet.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    code, output = run("solve", str(folder / "fleet.yaml"), "--out", str(folder), *options)
    assert code == 0, output
    return plan_from_yaml(folder / "plan.yaml")
