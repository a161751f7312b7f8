"""Commands run in this process, as a user would type them."""

from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result

from planner.cli import main
from planner.plan import Plan, plan_from_yaml


def invoke(*arguments: str | Path, given: str | None = None) -> Result:
    """Run a command, with text on its standard input; a traceback fails the test."""
    return CliRunner(catch_exceptions=False).invoke(main, [*map(str, arguments)], input=given, prog_name="planner")


def run(*arguments: str | Path) -> tuple[int, str]:
    """Return the exit code of a command and what it prints."""
    result = invoke(*arguments)
    return result.exit_code, result.output


def printed(*arguments: str | Path) -> str:
    """Return what a command prints that finds nothing amiss."""
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def solved(folder: Path, document: dict[str, Any], *options: str) -> Plan:
    """Return the plan of a fleet that is written into a folder, with the plan beside it."""
    folder.mkdir(exist_ok=True)
    (folder / "fleet.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    code, output = run("solve", str(folder / "fleet.yaml"), "--out", str(folder), *options)
    assert code == 0, output
    return plan_from_yaml(folder / "plan.yaml")
