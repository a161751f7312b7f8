"""What a role pins of the engine arrives in the plan, on every command line, and comes back from them."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from fleets import catalog, changed, fleet
from plans import plan, server

from planner.artifacts.read_back import read_back
from planner.artifacts.serve_args import planned_server, serve_arguments
from planner.check import check
from planner.cli import main
from planner.engine.flags import ServeFlags
from planner.engine.options import engine_options
from planner.engine.settings import NOTHING, SETTINGS, EngineSettings, read_settings, settings_options
from planner.fleet.engine_keys import EngineKeys
from planner.plan import Plan, plan_from_yaml, plan_to_yaml

SMALL: dict[str, Any] = {
    "name": "small",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "gpu": {"name": "L4"},
    "roles": {
        "chat": {"task": "chat", "models": ["Qwen2.5-7B-Instruct"], "schemes": "awq-int4", "context": "8k"},
    },
}
TARGETS = ("quadlet", "kubernetes", "helm-values")
GIVEN: dict[str, tuple[Any, EngineSettings]] = {
    "eager": (True, EngineSettings(eager=True)),
}
"""Each key with a value as a fleet file has it, and what is made of it."""


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner(catch_exceptions=False).invoke(main, arguments, prog_name="planner")
    return result.exit_code, result.output


def solved(folder: Path, document: dict[str, Any], *options: str) -> Plan:
    (folder / "fleet.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    code, output = run("solve", str(folder / "fleet.yaml"), "--out", str(folder), *options)
    assert code == 0, output
    return plan_from_yaml(folder / "plan.yaml")


def test_every_setting_has_a_key_and_a_case() -> None:
    fields = [field.name for field in dataclasses.fields(EngineSettings)]
    flags = {field.name for field in dataclasses.fields(ServeFlags)}

    assert sorted(fields) == sorted(setting.field for setting in SETTINGS)
    assert {setting.key for setting in SETTINGS} == set(GIVEN) == set(EngineKeys.model_fields)
    assert {setting.flag for setting in SETTINGS if setting.flag} <= flags
    assert set(EngineKeys.later) == set(EngineKeys.model_fields)


@pytest.mark.parametrize("key", GIVEN)
def test_a_key_arrives(key: str) -> None:
    value, wanted = GIVEN[key]

    assert fleet(changed(SMALL, f"roles.chat.{key}", value)).role("chat").settings == wanted


@pytest.mark.parametrize("key", GIVEN)
def test_a_setting_comes_back_from_its_options(key: str) -> None:
    settings = GIVEN[key][1]
    options = settings_options(settings, engine_options("0.33.0"))
    pinned = server("chat", settings=settings)

    assert read_settings(dict(options)) == settings
    assert planned_server(server("chat"), serve_arguments(pinned, engine_options("0.33.0"))) == pinned


@pytest.mark.parametrize("key", GIVEN)
def test_a_fleet_that_pins_nothing_has_the_digest_of_one_without_the_key(key: str) -> None:
    nothing = EngineKeys.model_fields[key].default
    plain = fleet(SMALL)
    document = changed(SMALL, f"roles.chat.{key}", nothing) if nothing is not None else SMALL

    assert fleet(document).source_sha256 == plain.source_sha256
    assert fleet(changed(SMALL, f"roles.chat.{key}", GIVEN[key][0])).source_sha256 != plain.source_sha256
    assert plain.role("chat").settings == NOTHING


def test_a_pin_is_sized_rendered_in_every_target_and_verified(tmp_path: Path) -> None:
    targets = [word for target in TARGETS for word in ("--target", target)]
    found = solved(tmp_path, changed(SMALL, "roles.chat.eager", True), *targets)
    (chat,) = found.servers

    assert chat.settings == EngineSettings(eager=True)
    assert chat.ledger.cuda_graph_bytes == 0
    assert "eager true" in run("solve", str(tmp_path / "fleet.yaml"), "--out", str(tmp_path))[1]
    commands = {path: command for path, (command,) in read_back(tmp_path / "artifacts").items()}
    assert {path.split("/")[0] for path in commands} == {"launch.sh", "compose.yaml", "systemd", *TARGETS}
    assert all("--enforce-eager" in [one.flag for one in command.arguments] for command in commands.values())
    assert run("verify", str(tmp_path))[0] == 0

    launch = tmp_path / "artifacts" / "launch.sh"
    launch.write_text(launch.read_text(encoding="utf-8").replace("        --enforce-eager\n", ""), encoding="utf-8")
    code, output = run("verify", str(tmp_path))
    assert code == 5
    assert "lacks --enforce-eager" in output


def test_a_plan_whose_pin_was_edited_fails_its_check(tmp_path: Path) -> None:
    found = solved(tmp_path, SMALL)
    assert "settings" not in (tmp_path / "plan.yaml").read_text(encoding="utf-8")
    (chat,) = found.servers
    edited = dataclasses.replace(found, servers=(dataclasses.replace(chat, settings=EngineSettings(eager=True)),))

    assert check(found, fleet(SMALL), catalog()) == []
    assert "settings is" in check(edited, fleet(SMALL), catalog())[0].message


def test_a_difference_is_told_with_the_key(tmp_path: Path) -> None:
    for name, settings in (("old", NOTHING), ("new", EngineSettings(eager=True))):
        text = plan_to_yaml(plan(server("chat", settings=settings)))
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")

    code, output = run("diff", str(tmp_path / "old.yaml"), str(tmp_path / "new.yaml"))
    assert code == 5
    assert "chat: settings of the engine eager true instead of nothing" in output
