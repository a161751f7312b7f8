"""``planner mcp``: commands as tools, asked by the official SDK's client, and by lines of JSON written here.

Most tests have the server in this process and its commands in processes of their own; what concerns standard input and
output starts ``planner mcp``.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import jsonschema
import mcp_types as types
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from commands import run
from mcp import Client

from planner import checkpoint
from planner.cli.mcp import answers
from planner.cli.mcp.server import Settings, server_of
from planner.errors import InvalidConfig

TOOLS = ["estimate", "solve", "what_if", "explain", "catalog_search", "check", "diagnose"]
FLEET = """\
name: small
engine: {version: 0.33.0}
gpu: {name: L40S, price_per_hour: 1}
roles:
  talk: {task: general, models: Mistral-7B-Instruct-v0.3, context: 8k}
"""
LONG = Path(__file__).resolve().parent.parent / "examples" / "lab-of-mixed-nodes" / "fleet.yaml"
COMPOSE = """\
services:
  a:
    image: vllm/vllm-openai:v0.33.0
    command: --model Qwen/Qwen2.5-72B-Instruct
"""
ESTIMATE = {"model": "Qwen/Qwen2.5-7B-Instruct", "gpu": "l40s", "max_model_len": "8k", "max_num_seqs": 16}

_Call = Callable[..., types.CallToolResult]


def asked_for(*roots: Path) -> Callable[[object], Any]:
    """A client's answer to the question for its roots."""

    async def listed(_: object) -> types.ListRootsResult:
        return types.ListRootsResult.model_validate({"roots": [{"uri": root.as_uri()} for root in roots]})

    return listed


@contextmanager
def connected(settings: Settings, **options: Any) -> Iterator[tuple[BlockingPortal, Client]]:  # noqa: ANN401
    """Yield a client of a server with these settings; ``options`` are the client's."""
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        client = stack.enter_context(portal.wrap_async_context_manager(Client(server_of(settings), **options)))
        yield portal, client


@contextmanager
def calling(settings: Settings, **options: Any) -> Iterator[_Call]:  # noqa: ANN401
    """Yield what calls a tool and holds the answer against the tool's output schema."""
    with connected(settings, **options) as (portal, client):
        tools = portal.call(client.list_tools).tools
        schemas = {tool.name: jsonschema.Draft202012Validator(tool.output_schema or {}) for tool in tools}

        def call(name: str, **arguments: object) -> types.CallToolResult:
            found: types.CallToolResult = portal.call(client.call_tool, name, arguments)
            schemas[name].validate(found.structured_content)
            (content,) = found.content
            assert isinstance(content, types.TextContent)
            assert json.loads(content.text) == found.structured_content
            assert found.is_error == (found.structured_content["error"] is not None)
            return found

        yield call


@pytest.fixture(scope="module")
def call() -> Iterator[_Call]:
    """A server without roots, and a client that speaks of none."""
    with calling(Settings()) as found:
        yield found


@pytest.fixture(scope="module")
def listed() -> list[types.Tool]:
    with connected(Settings()) as (portal, client):
        found: list[types.Tool] = portal.call(client.list_tools).tools
        return found


def command_line(*arguments: str) -> tuple[int, Any]:
    code, printed = run(*arguments, "--json")
    return code, json.loads(printed[printed.index("{") : printed.rindex("}") + 1])


def test_tools_say_what_they_take_and_give(listed: list[types.Tool]) -> None:
    assert [tool.name for tool in listed] == TOOLS
    for tool in listed:
        for schema in (tool.input_schema, tool.output_schema):
            assert schema is not None
            jsonschema.Draft202012Validator.check_schema(schema)
            assert (schema["type"], schema["additionalProperties"]) == ("object", False)
            assert not {"anyOf", "oneOf", "allOf"} & set(schema), "models that call tools do not take these at the top"
            for reference in references(schema):
                assert inside(schema, reference), reference
        assert [name for name, one in tool.input_schema["properties"].items() if not one.get("description")] == []
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint


def references(node: object) -> Iterator[str]:
    for value in node if isinstance(node, list) else node.values() if isinstance(node, dict) else ():
        yield from references(value)
    if isinstance(node, dict) and isinstance(node.get("$ref"), str):
        yield node["$ref"]


def inside(schema: dict[str, Any], reference: str) -> bool:
    """Whether a reference leads to a part of the schema itself."""
    here: Any = schema
    for step in reference.removeprefix("#/").split("/"):
        here = here.get(step) if isinstance(here, dict) else None
    return here is not None


def test_an_answer_is_what_the_command_prints(call: _Call, tmp_path: Path) -> None:
    for name, text in (("fleet.yaml", FLEET), ("compose.yaml", COMPOSE), ("vllm.log", "ValueError: no GPU\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in ESTIMATE.items() if name != "model"]
    given: list[tuple[str, dict[str, Any], list[str]]] = [
        ("estimate", ESTIMATE, ["estimate", *flags, str(ESTIMATE["model"])]),
        ("solve", {"fleet": FLEET}, ["solve", "--dry-run", str(tmp_path / "fleet.yaml")]),
        ("check", {"files": [{"name": "compose.yaml", "text": COMPOSE}], "gpu": "l40s"},
         ["check", "--gpu=l40s", str(tmp_path / "compose.yaml")]),
        ("diagnose", {"log": "ValueError: no GPU\n"}, ["diagnose", str(tmp_path / "vllm.log")]),
    ]  # fmt: skip

    for tool, arguments, line in given:
        found = call(tool, **arguments).structured_content
        code, printed = command_line(*line)
        if tool == "check":  # it names the file as it was given
            printed["servers"][0]["file"] = "compose.yaml"
            assert code == 3  # that a server does not start is an answer
        assert (found["exit_code"], found["answer"]) == (code, printed)
        assert found["left_out"] == {}


def test_a_fleet_without_a_plan_is_an_answer_and_no_error(call: _Call) -> None:
    found = call("solve", fleet=FLEET.replace("8k", "8k, concurrency: 4000"))

    assert found.structured_content["exit_code"] == 3
    assert found.structured_content["answer"]["conflicts"]
    assert not found.is_error


def test_variations_are_compared_and_a_role_is_explained(call: _Call) -> None:
    varied = call("what_if", fleet=FLEET, gpu=["rtx-4090"], part="/scenarios/1/scenario").structured_content
    explained = call("explain", fleet=FLEET, role="talk", part="/plan/servers/0/role").structured_content

    assert (varied["part"], varied["answer"]) == ("rtx-4090", None)
    assert explained["part"] == "talk"


def test_a_search_is_cut_and_says_how_much_there_is_more(call: _Call) -> None:
    found = call("catalog_search", text="qwen", limit=2).structured_content
    _, printed = command_line("catalog", "search", "qwen")

    assert found["answer"]["models"] == printed["models"][:2]
    assert found["left_out"]["models"] == len(printed["models"]) - 2


def test_errors_carry_the_same_data_as_those_of_the_command_line(call: _Call) -> None:
    wrong = call("solve", fleet=FLEET.replace("L40S", "L41S").replace("8k", "8q")).structured_content
    unknown = call("estimate", **{**ESTIMATE, "gpu": "l41s"}).structured_content

    assert [(one["file"], one["line"], one["path"]) for one in wrong["error"]["problems"]] == [
        ("fleet.yaml", 3, "gpu.name"), ("fleet.yaml", 5, "roles.talk.context"),
    ]  # fmt: skip
    assert unknown["error"]["kind"] == "UnknownName"
    assert "L40S" in unknown["error"]["hint"]
    assert (wrong["exit_code"], unknown["exit_code"]) == (1, 1)


@pytest.mark.parametrize(
    ("tool", "arguments", "path"),
    [
        ("estimate", {"model": "m"}, ""),
        ("estimate", {**ESTIMATE, "tensor_parallel_size": "two"}, "tensor_parallel_size"),
        ("estimate", {**ESTIMATE, "catalog": "/etc"}, ""),
        ("solve", {}, "fleet"),
        ("solve", {"fleet": FLEET, "fleet_path": "fleet.yaml"}, "fleet"),
        ("solve", {"fleet": "x" * (600 << 10)}, "fleet"),
        ("solve", {"fleet": FLEET, "write": True}, ""),
        ("check", {}, "files"),
        ("check", {"files": [{"name": "../run.sh", "text": ""}]}, "files"),
        ("check", {"files": [{"name": "run.sh", "text": ""}, {"name": "run.sh", "text": ""}]}, "files"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_arguments_that_make_no_sense_are_named(call: _Call, tool: str, arguments: dict[str, Any], path: str) -> None:
    error = call(tool, **arguments).structured_content["error"]

    assert error["kind"] == "InputError"
    assert [one["path"] for one in error["problems"]] == [path]
    assert len(error["message"]) < 1000


def test_a_value_does_not_become_an_option(call: _Call, tmp_path: Path) -> None:
    found = call("estimate", **{**ESTIMATE, "model": f"--catalog={tmp_path}"}).structured_content

    assert found["error"]["kind"] == "UnknownName"


def test_a_file_of_the_clients_is_no_module(call: _Call, tmp_path: Path) -> None:
    bad = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    files = [
        {"name": f"{name}.py", "text": bad} for name in ("json", "click", "sitecustomize", "usercustomize", "planner")
    ]

    call("check", files=[*files, {"name": "compose.yaml", "text": COMPOSE}], gpu="l40s")

    assert not (tmp_path / "ran").exists()


def test_an_answer_that_is_too_large_names_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MOST_BYTES", 3000)
    with calling(Settings()) as call:
        error = call("catalog_search", text="qwen3-8b").structured_content["error"]
        part = call("catalog_search", text="qwen3-8b", part="/models/0/repository").structured_content
        none = call("catalog_search", text="qwen3-8b", part="/models/x").structured_content["error"]

    assert error["kind"] == "TooLarge"
    assert "/models (" in error["hint"]
    assert part["part"].endswith("Qwen3-8B")
    assert none["kind"] == "NoPart"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that may be read, with a fleet, and beside it one that may not."""
    folder = tmp_path_factory.mktemp("given").resolve()
    (folder / "in" / "sub").mkdir(parents=True)
    (folder / "out").mkdir()
    for place in ("in", "out"):
        (folder / place / "fleet.yaml").write_text(FLEET, encoding="utf-8")
        (folder / place / "vllm.log").write_text("ValueError: no GPU\n", encoding="utf-8")
        (folder / place / "config.json").write_text('{"model_type": "hidden-kind"}', encoding="utf-8")
    (folder / "in" / "link.yaml").symlink_to(folder / "out" / "fleet.yaml")
    (folder / "in" / "folder").symlink_to(folder / "out")
    os.mkfifo(folder / "in" / "pipe.yaml")
    with (folder / "in" / "huge.yaml").open("wb") as stream:
        stream.truncate(1 << 30)
    return folder / "in"


@pytest.fixture(scope="module")
def rooted(root: Path) -> Iterator[_Call]:
    with calling(Settings(roots=(root,))) as found:
        yield found


def test_a_file_inside_a_root_is_read(rooted: _Call, root: Path) -> None:
    assert rooted("solve", fleet_path=str(root / "fleet.yaml"), part="/fleet").structured_content["part"] == "small"
    assert rooted("diagnose", log_path="sub/../vllm.log").structured_content["answer"]["servers"]


@pytest.mark.parametrize(
    "path",
    ["../out/fleet.yaml", "link.yaml", "folder/fleet.yaml", "pipe.yaml", "huge.yaml", "sub", "none.yaml", "/etc/passwd",
     "/proc/self/environ", "a\0b", "~/fleet.yaml"],
)  # fmt: skip
def test_a_path_that_leads_elsewhere_is_refused_whatever_is_there(rooted: _Call, root: Path, path: str) -> None:
    errors = [
        rooted(tool, **arguments).structured_content["error"]
        for tool, arguments in (
            ("solve", {"fleet_path": path}),
            ("diagnose", {"log_path": path}),
            ("check", {"paths": [path]}),
        )
    ]

    assert {(error["kind"], error["message"]) for error in errors} == {
        ("OutsideRoots", f"{path}: not a file inside {root}")
    }


def test_without_a_root_no_path_is_read(call: _Call, root: Path) -> None:
    assert call("solve", fleet_path=str(root / "fleet.yaml")).structured_content["error"]["kind"] == "OutsideRoots"


def test_a_model_folder_outside_is_not_read_and_not_told_from_one_that_is_not_there(rooted: _Call, root: Path) -> None:
    def said(folder: Path) -> str:
        found = rooted("estimate", **{**ESTIMATE, "model": str(folder)}).structured_content["error"]
        return json.dumps(found).replace(str(folder), "FOLDER")

    fleet = FLEET.replace("Mistral-7B-Instruct-v0.3", str(root.parent / "out"))
    error = rooted("solve", fleet=fleet).structured_content["error"]

    assert said(root / "folder") == said(root.parent / "nowhere")
    assert "architectures: missing" in said(root)
    assert "is not inside a folder that may be read" in error["message"]


def test_folders_of_models_are_read_where_they_may_be(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.checkpoint.folder._confined", [])
    checkpoint.confine([root])

    for folder in (root.parent / "out", root / "folder", root / ".." / "out", root.parent / "nowhere", Path("a\0b")):
        for read in (checkpoint.read_folder, checkpoint.read_config):
            with pytest.raises(InvalidConfig, match="is not inside a folder that may be read"):
                read(folder)
    assert checkpoint.read_config(root)["model_type"] == "hidden-kind"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_roots_of_a_client_count_and_only_those_that_the_server_has_too(root: Path, mode: str) -> None:
    outside, fleet = root.parent / "out", str(root / "fleet.yaml")
    found = {
        (name, own): told(own, roots, fleet, mode)
        for name, roots in (("none", []), ("same", [root]), ("above", [root.parent]), ("other", [outside]))
        for own in ((), (root,))
    }

    assert found == {
        ("none", ()): False, ("none", (root,)): False, ("same", ()): True, ("same", (root,)): True,
        ("above", ()): True, ("above", (root,)): True, ("other", ()): False, ("other", (root,)): False,
    }  # fmt: skip


def told(own: Sequence[Path], clients: Sequence[Path], fleet: str, mode: str) -> bool:
    """Whether a fleet is read where the server and its client have these roots."""
    with calling(Settings(roots=tuple(own)), list_roots_callback=asked_for(*clients), mode=mode) as call:
        return not call("diagnose", log_path=str(Path(fleet).with_name("vllm.log"))).is_error


def test_nothing_is_written_without_the_flag(rooted: _Call, root: Path) -> None:
    before = sorted(root.iterdir())

    assert rooted("solve", fleet_path="fleet.yaml", write=True).structured_content["error"]["kind"] == "InputError"
    assert sorted(root.iterdir()) == before


def test_with_the_flag_solve_writes_beside_the_fleet_and_through_no_link(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path.resolve() / "in", tmp_path.resolve() / "elsewhere"
    for path in (folder, elsewhere):
        path.mkdir()
    (folder / "fleet.yaml").write_text(FLEET, encoding="utf-8")
    (folder / "artifacts").symlink_to(elsewhere)
    with calling(Settings(roots=(folder,), allow_write=True)) as call:
        linked = call("solve", fleet_path="fleet.yaml", write=True).structured_content
        (folder / "artifacts").unlink()
        text = call("solve", fleet=FLEET, write=True).structured_content
        written = call("solve", fleet_path="fleet.yaml", write=True).structured_content

    assert linked["error"]["kind"] == "OutsideRoots"
    assert text["error"]["kind"] == "InputError"
    assert list(elsewhere.iterdir()) == []
    assert written["exit_code"] == 0
    assert (folder / "plan.yaml").is_file()
    assert (folder / "artifacts" / "launch.sh").is_file()
    assert run("solve", str(folder / "fleet.yaml"), "--check")[0] == 0


def children() -> list[list[bytes]]:
    """The processes of commands that this one, or one that it started, has running."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes().split(b"\0"))
    ours = (sys.executable.encode(), b"planner.cli.mcp.child")
    return [words for words in found if all(one in words for one in ours)]


def gone() -> bool:
    """Whether all of them end soon; a process that was killed takes a moment to go."""
    for _ in range(3000):
        if not children():
            return True
        time.sleep(0.1)
    return False


def test_a_long_call_says_how_far_it_is_and_ends_when_it_is_cancelled() -> None:
    told: list[tuple[float, str]] = []

    async def cancelled(client: Client) -> bool:
        with anyio.CancelScope() as scope:

            async def hear(progress: float, total: float | None, message: str | None) -> None:
                told.append((progress, message or ""))
                if len(told) == 2:
                    scope.cancel()

            await client.call_tool("explain", {"fleet": LONG.read_text()}, progress_callback=hear)
        return scope.cancelled_caught

    with connected(Settings()) as (portal, client):
        assert portal.call(cancelled, client)

    assert [step for step, _ in told] == [1, 2]
    assert all(message for _, message in told)
    assert gone()


def request(number: int, method: str, **params: object) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + "\n"


@contextmanager
def served(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Start ``planner mcp`` as a client does."""
    with subprocess.Popen(
        [sys.executable, "-m", "planner", "mcp", *arguments], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        assert process.stdin
        process.stdin.write(request(1, "initialize", **hello))
        process.stdin.write('{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')
        process.stdin.flush()
        try:
            yield process
        finally:
            process.kill()


def test_standard_output_is_the_protocol_and_nothing_else() -> None:
    with served() as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write("this is no JSON\n" + request(2, "tools/call", name="estimate", arguments=ESTIMATE))
        process.stdin.flush()
        lines: list[dict[str, Any]] = []
        while not lines or lines[-1].get("id") != 2:
            lines.append(json.loads(process.stdout.readline()))
        process.stdin.close()

        assert process.wait(20) == 0
        assert process.stdout.read() == ""
    assert {line["jsonrpc"] for line in lines} == {"2.0"}
    assert lines[-1]["result"]["structuredContent"]["answer"]["starts"] is True


@pytest.mark.parametrize("end", ["close", "kill"])
def test_a_command_ends_with_its_server_however_that_ends(end: str) -> None:
    arguments = {"fleet": LONG.read_text(encoding="utf-8")}
    with served() as process:
        assert process.stdin
        process.stdin.write(request(2, "tools/call", name="explain", arguments=arguments))
        process.stdin.flush()
        while not children():
            time.sleep(0.05)
        if end == "close":
            process.stdin.close()
        else:
            process.send_signal(signal.SIGKILL)
        process.wait(300)

        assert gone()


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    code, printed = run("mcp")

    assert code == 1
    assert "pip install 'planner[mcp]'" in printed
