"""What agents are told: every command in AGENTS.md and in the skill works, and the skill has the published format.

The format: agentskills.io/specification, as of 2026.
"""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from commands import run

from planner.cli import main
from planner.cli.mcp.tools import TOOLS, parameters

ROOT = Path(__file__).resolve().parent.parent
AGENTS = (ROOT / "AGENTS.md").read_text(encoding="utf-8")
SKILL = ROOT / "skills" / "size-before-you-deploy" / "SKILL.md"
_, HEADER, BODY = SKILL.read_text(encoding="utf-8").split("---\n", 2)
MCP_PAGE = (ROOT / "docs" / "mcp.md").read_text(encoding="utf-8")
COMPOSE = """\
services:
  a:
    image: vllm/vllm-openai:v0.33.0
    command: --model Qwen/Qwen2.5-7B-Instruct --max-model-len 8192
"""
CODES = {"check": {0, 3}, "solve": {0}}


def commands(text: str) -> list[list[str]]:
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [shlex.split(line.removeprefix("$ ")) for block in blocks for line in block.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the commands name: the fleet is that of the skill."""
    path = tmp_path_factory.mktemp("agent")
    (fleet,) = re.findall(r"```yaml\n(.*?)```", BODY, re.DOTALL)
    (path / "fleet.yaml").write_text(fleet, encoding="utf-8")
    (path / "compose.yaml").write_text(COMPOSE, encoding="utf-8")
    (path / "vllm.log").write_text("ValueError: no GPU\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("text", [AGENTS, BODY], ids=["AGENTS.md", "skill"])
def test_every_command_of_the_planner_works(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    typed = [words[1:] for words in commands(text) if words[0] == "planner"]

    assert typed
    for words in typed:
        code, printed = run(*words)
        assert code in CODES.get(words[0], {0}), (words, printed)
        if "--json" in words:
            json.loads(printed[printed.index("{") : printed.rindex("}") + 1])


def test_every_other_command_names_what_is_there() -> None:
    others = [words for words in commands(AGENTS) if words[0] != "planner"]
    named = {word for words in others for word in words if "/" in word and not word.startswith(".venv/bin/")}

    assert named == {".ci/run", "tests/test_weights.py"}
    assert all((ROOT / word).exists() for word in named)


def options_of(command: click.Command) -> set[str]:
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("text", [AGENTS, BODY], ids=["AGENTS.md", "skill"])
def test_every_option_in_running_text_is_one_of_the_planner_or_the_engine(text: str) -> None:
    context = click.Context(main)
    found = [main.get_command(context, name) for name in main.list_commands(context)]
    known = {option for command in found if command for option in options_of(command)}
    named = set(re.findall(r"`(--[\w-]+)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)))

    assert named - {"--update-golden"} <= known


def test_every_key_that_the_skill_names_is_in_the_json() -> None:
    schemas = [
        json.loads((ROOT / "docs" / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
        for name in ("estimate", "check", "diagnose")
    ]
    keys = {"starts", "reason", "kv_cache_gib_low", "kv_cache_gib_high", "max_concurrency", "known_faults", "change",
            "cause", "try"}  # fmt: skip

    assert all(f"`{key}`" in BODY for key in keys)
    assert keys <= set().union(*map(properties, schemas))


def properties(node: Any) -> set[str]:  # noqa: ANN401 - any JSON
    if isinstance(node, list):
        return set().union(*map(properties, node))
    if not isinstance(node, dict):
        return set()
    return set(node.get("properties", {})).union(*map(properties, node.values()))


def test_the_skill_has_the_published_format() -> None:
    header = yaml.safe_load(HEADER)

    assert set(header) <= {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}
    assert header["name"] == SKILL.parent.name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", header["name"])
    assert len(header["name"]) <= 64
    assert 0 < len(header["description"]) <= 1024
    assert len(header["compatibility"]) <= 500
    assert len(BODY.splitlines()) < 500


def test_the_page_of_the_server_has_every_tool_and_its_inputs() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| .*? \| (.*?) \|$", MCP_PAGE, re.MULTILINE))
    given = {"fleet": {"fleet", "fleet_path"}, "files": {"files", "paths"}, "log": {"log", "log_path"}}
    tools = {tool.name: {*parameters(tool), *given.get(tool.given, ()), "limit"} for tool in TOOLS}

    assert [name for name in rows if name in tools] == list(tools)
    for name, own in tools.items():
        assert set(re.findall(r"`(\w+)`", rows[name])) <= own
        assert f"`{name}`" in BODY
