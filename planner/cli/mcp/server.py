"""The protocol: the tools listed, a call answered, by the official SDK on standard input and output.

A client of the revision 2025-11-25 or before is asked for its roots in between; one of 2026-07-28 gives them with a
second call, which the SDK of the client makes by itself.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import jsonschema
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from msgspec import Struct

from planner.cli.json_text import error_facts
from planner.cli.mcp import answers, roots
from planner.cli.mcp.calling import call
from planner.cli.mcp.tools import TOOLS, Tool, parameters, schema_of, words
from planner.errors import InputError, PlannerError, Problem
from planner.version import VERSION
from planner.yaml_source import MAX_BYTES

_AT_ONCE = 2
"""Commands that run side by side; the others wait."""
_MOST_FILES = 50
_LONGEST_TEXT = 4 << 20
_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}|\.env[A-Za-z0-9._-]{0,95}")
_ROOTS = "roots"
_OF_FILES = ("create ", "identical ", "overwrite ", "remove ", "skip ", "Plan: ", "hint: this was a dry run")
"""How lines begin that say what a run without --dry-run would do to files."""

_INSTRUCTIONS = """\
Size before you deploy: a vLLM server that does not fit fails after minutes of loading, or later under load.
Use estimate for one server, solve for a whole fleet of GPUs and roles, check for files that start vLLM already,
diagnose for the log of one that failed, what_if before buying or renting GPUs, and catalog_search for exact names.
Figures with a range are to be planned with at the low end. That no plan exists is an answer: it names what conflicts.
"""


class Settings(Struct, frozen=True, kw_only=True):
    """What the server may: read in ``roots``, write there, and heed overlays of the catalog."""

    roots: tuple[Path, ...] = ()
    allow_write: bool = False
    catalogs: tuple[Path, ...] = ()


_Context = ServerRequestContext[dict[str, Any]]


def serve(settings: Settings) -> None:
    """Serve one client on standard input and output, until it closes them."""

    async def session() -> None:
        server = server_of(settings)
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())

    anyio.run(session)


def server_of(settings: Settings) -> Server[dict[str, Any]]:
    """Return the server of some settings."""
    seats = anyio.Semaphore(_AT_ONCE)
    tools = {tool.name: tool for tool in TOOLS}
    listed = [_listed(tool, settings) for tool in TOOLS]
    schemas = {one.name: one.input_schema for one in listed}

    async def list_tools(_: _Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed)

    async def call_tool(
        context: _Context, asked: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        if (tool := tools.get(asked.name)) is None:
            error = PlannerError(f"there is no tool {asked.name}; there are {', '.join(tools)}")
            return _result(answers.refused(error_facts(error)))
        given = asked.arguments or {}
        try:
            _require_valid(given, schemas[tool.name])
            allowed: tuple[Path, ...] | None = ()
            if tool.given == "fleet" or any(name in given for name in ("log_path", "paths", "model")):
                allowed = await _allowed(context, asked, settings)
            if allowed is None:
                return types.InputRequiredResult(input_requests={_ROOTS: types.ListRootsRequest()})
            async with seats:
                return _result(await _answer(context, tool, given, allowed, settings))
        except PlannerError as error:
            return _result(answers.refused(error_facts(error)))

    return Server(
        "planner", version=VERSION, instructions=_INSTRUCTIONS, on_list_tools=list_tools, on_call_tool=call_tool
    )


async def _answer(
    context: _Context, tool: Tool, given: Mapping[str, Any], allowed: tuple[Path, ...], settings: Settings
) -> dict[str, Any]:
    """Return what a tool gives back; what a client wrote is put into a folder that is gone afterwards."""
    steps = 0

    async def told(text: str) -> None:
        nonlocal steps
        steps += 1
        await context.session.report_progress(steps, message=text)

    with tempfile.TemporaryDirectory(prefix="planner-mcp-") as folder:
        read = _files(tool, given, allowed, Path(folder))
        shared = [f"--catalog={path}" for path in settings.catalogs]
        if tool.given == "fleet":
            shared += _writing(tool, given, Path(read[0]))
        *options, dash = _options(tool, given)[0]
        line = [*tool.command, *shared, "--json", *options, dash, *read, *_options(tool, given)[1]]
        found = await call(line, (*allowed, Path(folder)), folder, told)
    if isinstance(found.document, dict) and "error" in found.document:
        return answers.refused(found.document["error"], found.code)
    limit = given.get("limit", answers.MODELS) if "search" in tool.name else None
    said = found.said if given.get("write") else _without_files(found.said)
    return answers.envelope(found.code, found.document, said, part=given.get("part"), limit=limit)


def _without_files(said: str) -> str:
    """Return what a command said without the files that it did not write."""
    return "\n".join(line for line in said.splitlines() if not line.lstrip().startswith(_OF_FILES))


def _options(tool: Tool, given: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the options, up to the dashes that end them, and the arguments."""
    line = words(tool, given)
    end = line.index("--") + 1
    return line[:end], line[end:]


def _files(tool: Tool, given: Mapping[str, Any], allowed: tuple[Path, ...], folder: Path) -> list[str]:
    """Return the paths of what a tool reads; texts are written into the folder of the call.

    Raises:
        OutsideRoots: a path leads out of the roots.
        InputError: there is nothing to read, or twice.
    """
    if tool.given == "fleet":
        if "fleet_path" in _one_of(given, "fleet", "fleet_path"):
            path = roots.inside(given["fleet_path"], allowed)
            roots.without_links(path.parent, allowed)
            return [str(path)]
        return [_written(folder, "fleet.yaml", given["fleet"].encode())]
    if tool.given == "log":
        if "log_path" in _one_of(given, "log", "log_path"):
            return [_written(folder, "vllm.log", roots.read(given["log_path"], allowed))]
        return [_written(folder, "vllm.log", given["log"].encode("utf-8", "replace"))]
    if tool.given == "files":
        texts = {one["name"]: one["text"].encode("utf-8", "replace") for one in given.get("files", [])}
        texts |= {Path(path).name: roots.read(path, allowed) for path in given.get("paths", [])}
        if not texts or len(texts) < len(given.get("files", [])) + len(given.get("paths", [])):
            raise _wrong("files", "expected files or paths, and each name once")
        return [_written(folder, name, text) for name, text in texts.items()]
    return []


def _one_of(given: Mapping[str, Any], text: str, path: str) -> Mapping[str, Any]:
    if (text in given) == (path in given):
        raise _wrong(text, f"expected either {text} or {path}")
    return given


def _written(folder: Path, name: str, text: bytes) -> str:
    if not _FILE_NAME.fullmatch(name):
        raise _wrong("files", f"{name!r} is not the plain name of a file")
    (folder / name).write_bytes(text)
    return name


def _writing(tool: Tool, given: Mapping[str, Any], fleet: Path) -> list[str]:
    """Return the options that keep solve from writing, or let it."""
    if tool.name != "solve":
        return []
    if not given.get("write"):
        return ["--dry-run"]
    if "fleet_path" not in given:
        raise _wrong("write", "only what is planned for a file in a root is written, beside it")
    return [f"--out={fleet.parent}"]


async def _allowed(
    context: _Context, asked: types.CallToolRequestParams, settings: Settings
) -> tuple[Path, ...] | None:
    """Return the folders whose files may be read and written; None where the client has to be asked first.

    Where the client speaks of roots and the server was given some, both have to hold.
    """
    own = tuple(path.resolve() for path in settings.roots)
    capabilities = context.session.client_capabilities
    if capabilities is None or capabilities.roots is None:
        return own
    if context.session.can_send_request:
        listed = await context.session.send_request(types.ListRootsRequest(), types.ListRootsResult)
    else:
        answered = (asked.input_responses or {}).get(_ROOTS)
        if not isinstance(answered, types.ListRootsResult):
            return None
        listed = answered
    clients = tuple(roots.folders(str(root.uri) for root in listed.roots))
    return roots.meet(own, clients) if own else clients


def _listed(tool: Tool, settings: Settings) -> types.Tool:
    writes = tool.name == "solve" and settings.allow_write
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.about,
        input_schema=_input_schema(tool, writes=writes),
        output_schema=answers.output_schema(tool),
        annotations=types.ToolAnnotations(
            title=tool.title, read_only_hint=not writes, destructive_hint=False, idempotent_hint=True,
            open_world_hint=_asks_hub(tool),
        ),
    )  # fmt: skip


def _asks_hub(tool: Tool) -> bool:
    """Whether a tool may ask the hub, about models that the catalog does not list."""
    return tool.given != "log" and "search" not in tool.name


def _input_schema(tool: Tool, *, writes: bool) -> dict[str, Any]:
    own = {name: schema_of(parameter) for name, parameter in parameters(tool).items()}
    properties = {**_GIVEN.get(tool.given, {}), **own, "part": _PART}
    if "search" in tool.name:
        properties["limit"] = {"type": "integer", "minimum": 1, "maximum": 25, "description": _LIMIT}
    if writes:
        properties["write"] = {"type": "boolean", "description": _WRITE}
    required = [name for name, parameter in parameters(tool).items() if parameter.required]
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


_PATH = {"type": "string", "minLength": 1, "maxLength": 4096}
_LIMIT = f"Models and GPUs at most, {answers.MODELS} if absent."
_WRITE = "Write plan.yaml and artifacts/ beside fleet_path; a file that was edited by hand is left alone."
_PART = {
    "type": "string",
    "maxLength": 500,
    "description": "JSON Pointer of the one part of the answer that is wanted, such as /servers/0.",
}
_GIVEN: dict[str, dict[str, Any]] = {
    "fleet": {
        "fleet": {"type": "string", "maxLength": MAX_BYTES, "description": "The text of a fleet.yaml."},
        "fleet_path": {**_PATH, "description": "Instead: a fleet.yaml inside a root; a plan.yaml beside it counts."},
    },
    "log": {
        "log": {"type": "string", "maxLength": _LONGEST_TEXT, "description": "What vLLM printed."},
        "log_path": {**_PATH, "description": "Instead: a file with it inside a root."},
    },
    "files": {
        "files": {
            "type": "array",
            "maxItems": _MOST_FILES,
            "description": "Files by name, which says what they are: compose.yaml, Dockerfile, a.service, run.sh.",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name", "text"],
                "properties": {
                    "name": {"type": "string", "maxLength": 100},
                    "text": {"type": "string", "maxLength": _LONGEST_TEXT},
                },
            },
        },
        "paths": {
            "type": "array",
            "maxItems": _MOST_FILES,
            "description": "Files inside a root; what they name beside them counts only if it is given too.",
            "items": _PATH,
        },
    },
}


def _require_valid(given: Mapping[str, Any], schema: dict[str, Any]) -> None:
    """Do nothing where arguments fit the schema of their tool.

    Raises:
        InputError: with what does not fit.
    """
    found = jsonschema.Draft202012Validator(schema).iter_errors(given)
    problems = [(".".join(map(str, error.absolute_path)), _said(error)) for error in found]
    if problems:
        raise InputError(tuple(Problem("arguments", 0, 0, path, text) for path, text in problems[:20]))


def _said(error: jsonschema.ValidationError) -> str:
    """Say what is wrong, without values that may be long."""
    if error.validator in ("maxLength", "maxItems"):
        return f"longer than {error.validator_value}"
    return str(error.message)[:300]


def _wrong(path: str, text: str) -> InputError:
    return InputError((Problem("arguments", 0, 0, path, text),))


def _result(answer: dict[str, Any]) -> types.CallToolResult:
    text = json.dumps(answer, ensure_ascii=False)
    failed = answer["error"] is not None
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)], structured_content=answer, is_error=failed
    )
