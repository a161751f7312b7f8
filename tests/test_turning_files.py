"""What is rendered for roles that take turns passes the programs that read it, and does what the plan says."""

import functools
import json
import subprocess
import tempfile
from itertools import permutations
from pathlib import Path
from typing import Any

import parsed
import plans
import pytest
from jsonschema import Draft7Validator
from msgspec.structs import replace
from staged import KEY, Stage, free_ports, shellcheck, stage
from swapping import Swap, end_sleepers, swap_file
from test_artifacts import TURNING, run

from planner.artifacts import DEFAULT_TARGETS, render, write
from planner.artifacts.read_back import read_back
from planner.artifacts.turning import llama_swap
from planner.engine.adapters import Lora
from planner.engine.settings import EngineSettings
from planner.errors import InputError
from planner.plan import Plan
from planner.plan.server import SharedRole

# What llama-swap says of its configuration (config-schema.json of github.com/mostlygeek/llama-swap, MIT), as far as it
# is used here: names, types, ranges. No key beside these is used.
_MATRIX = {
    "type": "object",
    "required": ["vars", "sets"],
    "additionalProperties": False,
    "properties": {
        "vars": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": "string"},
            "propertyNames": {"pattern": "^[a-zA-Z0-9]{1,8}$"},
        },
        "evict_costs": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}},
        "sets": {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}},
    },
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["models"],
    "additionalProperties": False,
    "properties": {
        "healthCheckTimeout": {"type": "integer", "minimum": 15},
        "logToStdout": {"enum": ["proxy", "upstream", "both", "none"]},
        "apiKeys": {"type": "array", "items": {"type": "string", "minLength": 1}},
        "selectors": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["strategy", "targets"],
                "additionalProperties": False,
                "properties": {
                    "strategy": {"enum": ["warm", "pin", "spillover"]},
                    "targets": {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
                    "settings": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {"spillover": {"type": "integer", "minimum": 1}},
                    },
                },
            },
        },
        "models": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["cmd"],
                "additionalProperties": False,
                "properties": {
                    "cmd": {"type": "string", "minLength": 1},
                    "env": {"type": "array", "items": {"type": "string", "pattern": "^[A-Z_][A-Z0-9_]*=.*$"}},
                    "proxy": {"type": "string"},
                    "checkEndpoint": {"type": "string", "pattern": "^/.*$|^none$"},
                    "ttl": {"type": "integer", "minimum": -1},
                    "unloadTimeout": {"type": "integer", "minimum": 0},
                    "useModelName": {"type": "string"},
                    "aliases": {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True},
                    "concurrencyLimit": {"type": "integer", "minimum": 0},
                },
            },
        },
        "hooks": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "on_startup": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"preload": {"type": "array", "items": {"type": "string"}}},
                }
            },
        },
        "routing": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "router": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "use": {"enum": ["group", "matrix"]},
                        "settings": {
                            "type": "object",
                            "additionalProperties": False,
                            "properties": {"matrix": _MATRIX},
                        },
                    },
                }
            },
        },
    },
}


@pytest.fixture(params=TURNING, scope="module")
def rendered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the tests read and leave as it is."""
    folder = tmp_path_factory.mktemp("rendered") / str(request.param)
    write(render(TURNING[request.param], targets=DEFAULT_TARGETS), folder)
    return folder


def swap(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = parsed.one((folder / "llama-swap" / "config.yaml").read_text(encoding="utf-8"))
    return document


@functools.cache
def prove(rules: str, cases: str) -> None:
    """Let every rule fire and stay quiet; once for plans that have the same rules."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "alerts.yml").write_text(rules, encoding="utf-8")
        (Path(folder) / "alerts_test.yml").write_text(cases, encoding="utf-8")
        run("promtool", "test", "rules", Path(folder) / "alerts_test.yml")


def test_every_file_passes_the_program_that_reads_it(rendered: Path) -> None:
    found = sorted(rendered.rglob("*.sh"))
    shellcheck(*found)
    run("shfmt", "-d", "-i", "2", "-ci", "-bn", *found)
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", rendered / "compose.yaml")
    units = (*(rendered / "systemd").glob("*.service"), *(rendered / "systemd").glob("*.target"))
    run("systemd-analyze", "verify", "--man=no", *units)
    prove(*((rendered / "monitoring" / name).read_text(encoding="utf-8") for name in ("alerts.yml", "alerts_test.yml")))


def test_llama_swap_reads_its_file(rendered: Path) -> None:
    Draft7Validator(SCHEMA).validate(swap(rendered))


def test_llama_swap_may_have_awake_what_the_plan_may(rendered: Path) -> None:
    matrix = swap(rendered)["routing"]["router"]["settings"]["matrix"]
    named = {
        frozenset(matrix["vars"][word] for word in expression.split(" & ")) for expression in matrix["sets"].values()
    }

    assert named == {frozenset({"embed", "painter-1", "painter-2"}), frozenset({"embed", "writer"})}
    assert swap(rendered)["selectors"]["painter"]["targets"] == ["painter-1", "painter-2"]
    assert swap(rendered)["hooks"]["on_startup"]["preload"] == ["embed"]


def test_llama_swap_lets_the_requests_of_all_ranks_wait() -> None:
    plan = next(iter(TURNING.values()))
    ranks = replace(plan, servers=tuple(replace(server, data_parallel_size=8) for server in plan.servers))

    one, eight = llama_swap(plan), llama_swap(ranks)

    assert one and eight
    for before, after, server in zip(one.models, eight.models, plan.servers, strict=True):
        assert before.concurrency >= 4 * server.max_num_seqs
        assert after.concurrency == 32 * server.max_num_seqs


def also(name: str) -> SharedRole:
    return SharedRole(name=name, task="general", accuracy=plans.server(name).accuracy)


def test_llama_swap_knows_every_name_that_a_server_answers_to(tmp_path: Path) -> None:
    """Names of a shared server, and of adapters, which reach the engine only where no other name is sent for them."""
    plan = next(iter(TURNING.values()))
    adapters = EngineSettings(lora=Lora(adapters=1, rank=16, held=1, names=(("legal", "org/legal"),)))
    named = {"writer": also("editor"), "painter-1": also("drawer"), "painter-2": also("drawer")}
    servers = tuple(
        replace(server, settings=adapters, shared=(named[server.name],)) if server.asleep else server
        for server in plan.servers
    )
    write(render(replace(plan, servers=servers), targets=DEFAULT_TARGETS), tmp_path)

    document = swap(tmp_path)
    Draft7Validator(SCHEMA).validate(document)
    writer, painter = document["models"]["writer"], document["models"]["painter-1"]
    assert writer["aliases"] == ["editor", "legal"]
    assert "useModelName" not in writer
    assert painter["useModelName"] == "painter"
    assert "aliases" not in painter
    assert {name: one["targets"] for name, one in document["selectors"].items()} == {
        "painter": ["painter-1", "painter-2"],
        "drawer": ["painter-1", "painter-2"],
    }
    text = (tmp_path / "llama-swap" / "config.yaml").read_text(encoding="utf-8")
    assert text.count("adapters answer at its own port alone") == 2


def test_every_file_starts_the_planned_servers(rendered: Path) -> None:
    plan = TURNING[rendered.name]
    read = read_back(rendered)

    assert {"launch.sh", "compose.yaml", "llama-swap/config.yaml"} <= read.keys()
    for commands in read.values():
        for command in commands:
            flags = [argument.flag for argument in command.arguments]
            sleeps = rendered.name != "stop" and plan.server(command.server).asleep is not None
            assert ("--enable-sleep-mode" in flags) == sleeps


def test_what_comes_first_is_started_with_the_fleet(rendered: Path) -> None:
    services = parsed.one((rendered / "compose.yaml").read_text(encoding="utf-8"))["services"]
    waiting = {name for name, service in services.items() if service.get("profiles") == ["turns"]}
    target = (rendered / "systemd" / "planner-workstation.target").read_text(encoding="utf-8")

    assert waiting == {"writer"}
    assert not any("writer" in service.get("depends_on", {}) for service in services.values())
    assert "--painter-1.service" in target
    assert "--writer.service" not in target


def test_systemd_stops_one_before_it_starts_the_other(rendered: Path) -> None:
    unit = (rendered / "systemd" / "planner-workstation--writer.service").read_text(encoding="utf-8")

    assert ("Conflicts=planner-workstation--painter-1.service\n" in unit) == (rendered.name == "stop")


@pytest.mark.parametrize("target", ["kubernetes", "helm-values", "quadlet", "litellm"])
def test_other_targets_say_that_they_have_no_turns(target: str) -> None:
    with pytest.raises(InputError, match="no way to take turns"):
        render(TURNING["stop"], targets=(target,))


def test_a_plan_without_turns_has_none_of_these_files() -> None:
    assert not any("swap" in path or "turns" in path for path in render(plans.two_roles(), targets=DEFAULT_TARGETS))


def small(how: str) -> Plan:
    """A writer and a painter that take turns, on free ports."""
    plan = plans.in_turns(how)
    ports = free_ports(2)
    servers = (
        replace(plan.server("writer"), port=ports[0]),
        replace(plan.server("painter-1"), name="painter", port=ports[1]),
    )
    sets = (("painter",), ("writer",))
    return replace(plan, servers=servers, start_order=("writer", "painter"), awake_sets=sets)


def calls(stage: Stage) -> list[str]:
    return [event.split(":")[0] for event in stage.events() if not event.startswith("ready")]


@pytest.mark.parametrize("how", ["stop", "sleep", "sleep-2"])
def test_turns_go_from_one_to_the_other_and_back(how: str, tmp_path: Path) -> None:
    staged = stage(small(how), tmp_path)
    leave = {"stop": "stop {}", "sleep": "/sleep?level=1&mode=wait {}", "sleep-2": "/sleep?level=2&mode=wait {}"}[how]
    enter = {
        "stop": ["start {}"],
        "sleep": ["/wake_up {}"],
        "sleep-2": ["/wake_up?tags=weights {}", "/collective_rpc {}", "/wake_up?tags=kv_cache {}"],
    }[how]
    try:
        assert staged.run("launch.sh", "up").returncode == 0
        first = calls(staged)
        assert staged.run("turns.sh", "script", "writer").returncode == 0
        second = calls(staged)[len(first) :]
        back = staged.run("turns.sh", "script", "painter")
        third = calls(staged)[len(first) + len(second) :]

        assert back.returncode == 0, back.stderr
        assert first == ["start painter"]
        assert second == [leave.format("painter"), "start writer"]
        assert third == [leave.format("writer"), *(call.format("painter") for call in enter)]
        assert staged.run("smoke.sh").stdout.count("not its turn now") == 1
        assert staged.run("launch.sh", "status").returncode == 0
        assert staged.run("turns.sh", "script", "writer", "painter").returncode == 64
        assert staged.run("turns.sh", "script", "nobody").returncode == 64
    finally:
        staged.run("launch.sh", "down")


PROGRAM = """#!/bin/bash
echo "$(basename "$0") $*" >>"${FAKE_EVENTS}.said"
case "$*" in
  *" up "* | start*) action=up ;;
  *) action=down ;;
esac
name=${*: -1}
name=${name##*--}
PLANNER_ROUTER=off bash "@FOLDER@/launch.sh" "${action}" "${name%.service}"
"""
SAID = {
    "compose": (
        "docker compose --project-directory {folder} up --detach --wait writer",
        "docker compose --project-directory {folder} stop writer",
    ),
    "systemd": (
        "systemctl start planner-workstation--writer.service",
        "systemctl stop planner-workstation--writer.service",
    ),
}


@pytest.mark.parametrize("way", SAID)
def test_turns_are_given_the_way_the_fleet_was_started(way: str, tmp_path: Path) -> None:
    """Docker and systemd are stand-ins that do what they are asked for with launch.sh, and note the words."""
    staged = stage(small("stop"), tmp_path)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("docker", "systemctl"):
        (programs / name).write_text(PROGRAM.replace("@FOLDER@", str(staged.folder)), encoding="utf-8")
        (programs / name).chmod(0o755)
    staged.environment["PATH"] = f"{programs}:{staged.environment['PATH']}"
    try:
        assert staged.run("launch.sh", "up").returncode == 0
        for role in ("writer", "painter"):
            turn = staged.run("turns.sh", way, role)
            assert turn.returncode == 0, turn.stderr
        words = Path(f"{staged.environment['FAKE_EVENTS']}.said").read_text(encoding="utf-8").splitlines()
        order = calls(staged)
    finally:
        staged.run("launch.sh", "down")

    come, go = (text.format(folder=staged.folder) for text in SAID[way])
    assert words == [go.replace("writer", "painter"), come, go, come.replace("writer", "painter")]
    assert order == ["start painter", "stop painter", "start writer", "stop writer", "start painter"]


@pytest.mark.parametrize("how", ["stop", "sleep", "sleep-2"])
def test_the_commands_of_llama_swap_start_sleep_and_wake(how: str, tmp_path: Path) -> None:
    staged = stage(small(how), tmp_path)
    codes = []
    try:
        for order in permutations(["painter", "writer"]):
            for name in order:
                codes.append(Swap(staged, name).stop())
        starts = [event for event in calls(staged) if event.startswith("start")]
        wakes = [event for event in calls(staged) if event.startswith("/wake_up")]
    finally:
        end_sleepers(staged, "painter", "writer")

    if how == "stop":
        assert starts == ["start painter", "start writer", "start writer", "start painter"]
        assert not wakes
    else:
        assert codes == [0, 0, 0, 0]
        assert starts == ["start painter", "start writer"]
        assert len(wakes) == (2 if how == "sleep" else 4)


def test_the_engine_behind_llama_swap_asks_for_no_key(tmp_path: Path) -> None:
    """llama-swap has asked for it, and may not hand it on."""
    staged = stage(small("stop"), tmp_path)
    one = Swap(staged, "writer")
    try:
        base = swap_file(staged)["models"]["writer"]["proxy"]
        answer = subprocess.run(["curl", "--silent", f"{base}/v1/models"], capture_output=True, check=True, timeout=20)
        assert json.loads(answer.stdout)["data"][0]["id"] == "writer"
        assert staged.environment["VLLM_API_KEY"] == KEY
    finally:
        one.stop()
