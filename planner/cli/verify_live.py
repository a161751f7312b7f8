"""``planner verify --live``: ask the running servers of a plan, and print where they are not as planned."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from planner.artifacts.nodes import address_variable, many
from planner.cli.colour import shown
from planner.cli.exit_codes import EXIT_FILES_DIFFER, EXIT_PROVEN
from planner.cli.json_text import say_json
from planner.cli.text import table
from planner.live.asked import Said, ask
from planner.live.drift import DIFFERS, Finding, findings
from planner.live.local import held_bytes, process_of
from planner.live.prometheus import ask_prometheus
from planner.plain_data import as_dict
from planner.plan import Plan, ServerPlan, plan_from_yaml

_AT_ONCE = 32
_LOCAL = ("127.0.0.1", "localhost", "::1")


def verify_live(folder: Path, prometheus: str | None, timeout_s: float, as_json: bool) -> int:
    """Ask every server of the plan in a folder once, print what it says beside the plan, and return the exit code."""
    plan = plan_from_yaml(folder / "plan.yaml")
    key = os.environ.get("VLLM_API_KEY", "")

    def asked(server: ServerPlan) -> list[Finding]:
        return _asked(plan, server, prometheus, key, timeout_s)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = [one for several in pool.map(asked, plan.servers) for one in several]
    return print_findings(found, as_json)


def print_findings(found: Sequence[Finding], as_json: bool) -> int:
    """Print findings as a table or as JSON, and return the exit code."""
    differs = any(one.state == DIFFERS for one in found)
    if as_json:
        say_json({"as_planned": not differs, "findings": [as_dict(one) for one in found]})
    else:
        click.echo(shown(_table(found)))
    return EXIT_FILES_DIFFER if differs else EXIT_PROVEN


def _asked(plan: Plan, server: ServerPlan, prometheus: str | None, key: str, timeout_s: float) -> list[Finding]:
    host = _host(plan, server)
    said: Said
    if prometheus:
        said = ask_prometheus(prometheus, server.role, timeout_s)
    else:
        said = ask(f"http://{host}:{server.port}", key, timeout_s)
    process = process_of(server.port) if host in _LOCAL else None
    held = held_bytes(process, server.gpu_indices) if process else None
    return list(findings(plan, server, said, process, held))


def _host(plan: Plan, server: ServerPlan) -> str:
    """Return where a server is: its node's address, as the rendered files take it, or this machine."""
    if not many(plan):
        return _LOCAL[0]
    return os.environ.get(address_variable(server.node), server.node)


def _table(found: Sequence[Finding]) -> str:
    rows = [(one.server, one.what, one.planned, one.found, one.state if one.state == DIFFERS else "") for one in found]
    return table(("server", "what", "planned", "found", ""), rows)
