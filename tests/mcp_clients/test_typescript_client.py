"""``planner mcp`` asked by the TypeScript SDK's client, which holds answers against their schemas."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

LONG = Path(__file__).resolve().parents[2] / "examples" / "lab-of-mixed-nodes" / "fleet.yaml"
FLEET = """\
name: small
engine: {version: 0.33.0}
gpu: L40S
roles:
  talk: {task: general, models: Mistral-7B-Instruct-v0.3, context: 8k}
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the client was given: the tools, and the result of each call."""
    folder = tmp_path_factory.mktemp("root")
    (folder / "fleet.yaml").write_text(FLEET, encoding="utf-8")
    calls = [
        {"name": "estimate", "arguments": {"model": "Qwen/Qwen2.5-7B-Instruct", "gpu": "l40s"}},
        {"name": "estimate", "arguments": {"model": "Qwen/Qwen2.5-7B-Instruct", "gpu": "l41s"}},
        {"name": "solve", "arguments": {"fleet_path": "fleet.yaml"}},
        {"name": "solve", "arguments": {"fleet_path": "/etc/passwd"}},
        {"name": "what_if", "arguments": {"fleet": FLEET, "gpu": ["rtx-4090"]}},
        {"name": "explain", "arguments": {"fleet": LONG.read_text(encoding="utf-8")}, "cancelAfter": 2},
        {"name": "catalog_search", "arguments": {"text": "qwen3-8b"}},
        {"name": "check", "arguments": {"files": [{"name": "run.sh", "text": "vllm serve Qwen/Qwen2.5-7B-Instruct"}]}},
        {"name": "diagnose", "arguments": {"log": "ValueError: no GPU"}},
    ]
    done = subprocess.run(
        ["node", str(Path(os.environ["PLANNER_MCP_DIR"]) / "client.mjs"), sys.executable, "-m", "planner", "mcp"],
        input=json.dumps({"root": str(folder), "calls": calls}), capture_output=True, text=True, check=True,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_it_lists_the_tools_with_both_schemas(found: dict[str, Any]) -> None:
    assert found["server"]["name"] == "planner"
    assert len(found["tools"]) == 7
    assert all(tool["inputSchema"] and tool["outputSchema"] for tool in found["tools"])


def test_every_answer_fits_its_schema_and_errors_are_marked(found: dict[str, Any]) -> None:
    estimate, unknown, solved, outside, varied, cancelled, searched, checked, diagnosed = found["results"]

    assert estimate["structuredContent"]["answer"]["starts"] is True
    assert unknown["isError"]
    assert unknown["structuredContent"]["error"]["kind"] == "UnknownName"
    assert solved["structuredContent"]["answer"]["fleet"] == "small"
    assert outside["structuredContent"]["error"]["kind"] == "OutsideRoots"
    assert len(varied["structuredContent"]["answer"]["scenarios"]) == 2
    assert "enough" in cancelled["thrown"]
    assert len(cancelled["progress"]) == 2
    assert searched["structuredContent"]["answer"]["models"]
    assert checked["structuredContent"]["exit_code"] in (0, 3)
    assert diagnosed["structuredContent"]["answer"]["servers"]
