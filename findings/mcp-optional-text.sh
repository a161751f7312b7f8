#!/usr/bin/env bash
# A tool of an MCP server that takes `str | None` cannot be given text that is a JSON object or list, nor the text "null".
#
# The Python SDK 2.3.0 reads an argument that arrives as a string as JSON first, unless its type is exactly `str`. So the
# same text reaches `text: str` as it is, and `text: str | None = None` as a dict, which is refused, or as None. Who lets
# an agent hand over a file (a config.json, a plan) and makes the parameter optional meets it.
#
# Seen with mcp 2.3.0 on Python 3.11:
#   text "{}"    str: "{}"    str | None: refused
#   text "[1]"   str: "[1]"   str | None: refused
#   text "null"  str: "null"  str | None: None
#   text "7"     str: "7"     str | None: "7"
# Exits with 1 when it says otherwise.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "${folder}"' EXIT
python3 -m venv "${folder}/env"
"${folder}/env/bin/pip" install --quiet --disable-pip-version-check mcp==2.3.0

cat >"${folder}/ask.py" <<'PY'
import asyncio
import json
import sys

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("texts")


@server.tool()
def plain(text: str) -> str:
    return "None" if text is None else json.dumps(text)


@server.tool()
def optional(text: str | None = None) -> str:
    return "None" if text is None else json.dumps(text)


async def said(tool: str, text: str) -> str:
    try:
        return (await server.call_tool(tool, {"text": text})).content[0].text
    except ToolError:
        return "refused"


async def main() -> list[tuple[str, str]]:
    seen = []
    for text in ("{}", "[1]", "null", "7"):
        seen.append((await said("plain", text), await said("optional", text)))
        print(f"text {json.dumps(text):<7} str: {seen[-1][0]:<7} str | None: {seen[-1][1]}")
    return seen


expected = [('"{}"', "refused"), ('"[1]"', "refused"), ('"null"', "None"), ('"7"', '"7"')]
sys.exit(asyncio.run(main()) != expected)
PY
"${folder}/env/bin/python" "${folder}/ask.py"
