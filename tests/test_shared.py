"""One server for several roles: loaded once, limits added, every name answered, every floor kept."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import run, solved
from fleets import catalog, changed, fleet
from msgspec.structs import replace

from planner.artifacts.read_back import read_back
from planner.artifacts.read_routes import read_routes
from planner.check import check
from planner.conflict.requirements import requirements
from planner.engine.profile import load_profile
from planner.errors import InputError
from planner.options import prepare

PAIR: dict[str, Any] = {
    "name": "pair",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "gpu": {"name": "L40S"},
    "roles": {
        "chat": {
            "task": "chat",
            "models": ["Qwen2.5-7B-Instruct"],
            "schemes": "bf16",
            "context": {"min": "8k", "wish": "16k"},
            "concurrency": {"min": 3, "target": 8},
            "request": {"prompt_tokens": "2k", "output_tokens": "1k"},
            "weight": 2,
        },
        "code": {
            "task": "code",
            "models": ["Qwen2.5-7B-Instruct"],
            "context": "12k",
            "concurrency": {"min": 2, "target": 4},
            "request": {"prompt_tokens": "6k", "output_tokens": "2k"},
            "same_server_as": "chat",
        },
    },
}


def test_a_server_for_two_roles_has_the_limits_of_both() -> None:
    (both,) = fleet(PAIR).roles

    assert both.names == ("chat", "code")
    assert (both.context_min, both.context_wish) == (12288, 16384)
    assert (both.concurrency_min, both.concurrency_target) == (5, 12)
    assert both.request_tokens == 8192
    assert (both.weight, both.schemes) == (3, ("bf16",))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("roles.code.same_server_as", "cod", "there is no role 'cod'(.|\n)*with a server of its own: chat"),
        ("roles.code.same_server_as", "code", "its own server already"),
        ("roles.chat.same_server_as", "code", "itself is on the server of"),
        ("roles.code.task", "embedding", "a server for chat is none for embedding"),
        ("roles.code.schemes", "fp8", "roles.code.schemes and roles.chat.schemes"),
        ("roles.code.models", ["Mistral-7B-Instruct-v0.3"], "no checkpoint is a candidate of chat and code"),
        ("roles.code.speed", {"tpot": "50ms"}, "depends on the length of its requests"),
        ("roles.code.replicas", 1, "roles.code.replicas and roles.chat.replicas"),
    ],
)
def test_what_one_server_cannot_be_is_refused_with_both_keys(path: str, value: object, said: str) -> None:
    document = changed(PAIR, path, value)
    if path == "roles.code.replicas":  # what it is anyway, but somebody wrote it
        document = changed(document, "roles.chat.replicas", 2)
    if path == "roles.code.task":
        document = changed(document, "roles.code.request.output_tokens", None)

    with pytest.raises(InputError, match=said):
        fleet(document)


def test_the_plan_loads_once_and_answers_to_both_names_everywhere(tmp_path: Path) -> None:
    targets = ("quadlet", "kubernetes", "helm-values", "litellm")
    found = solved(tmp_path, PAIR, *(word for target in targets for word in ("--target", target)))
    (server,) = found.servers

    assert server.names == ("chat", "code")
    assert server.max_num_seqs == 12
    assert server.concurrency_request >= 12
    assert server.request_tokens == 8192
    for path, commands in read_back(tmp_path / "artifacts").items():
        names = [one.words for command in commands for one in command.arguments if one.flag == "--served-model-name"]
        assert names == [("chat", "code")], path
    for path, routes in read_routes(tmp_path / "artifacts").items():
        assert routes["chat"] == routes["code"], path
    assert run("verify", str(tmp_path))[0] == 0
    output = run("solve", str(tmp_path / "fleet.yaml"), "--out", str(tmp_path))[1]
    assert "One server for several roles:" in output
    assert "chat: code too" in output

    launch = tmp_path / "artifacts" / "launch.sh"
    launch.write_text(launch.read_text(encoding="utf-8").replace("chat code", "chat"), encoding="utf-8")
    code, output = run("verify", str(tmp_path))
    assert code == 5
    assert "--served-model-name is chat, planned chat code" in output


def test_a_plan_that_leaves_a_role_out_fails_its_check(tmp_path: Path) -> None:
    found = solved(tmp_path, PAIR)
    (server,) = found.servers
    alone = replace(found, servers=(replace(server, shared=()),))

    assert check(found, fleet(PAIR), catalog()) == []
    assert any("roles it shares" in str(one) for one in check(alone, fleet(PAIR), catalog()))


def test_two_servers_take_more_than_one(tmp_path: Path) -> None:
    together = solved(tmp_path, PAIR)
    apart = solved(tmp_path, changed(PAIR, "roles.code.same_server_as", None))

    assert len(apart.servers) == 2
    assert sum(one.ledger.weights_bytes for one in apart.servers) == 2 * together.servers[0].ledger.weights_bytes


def test_the_floor_of_every_role_is_kept() -> None:
    document = changed(changed(PAIR, "roles.chat.schemes", None), "roles.code.accuracy", {"recovery": 100})
    (found,) = prepare(fleet(document), catalog(), load_profile("0.33.0")).roles

    assert {option.variant.scheme for option in found.options} == {"bf16"}
    assert "recovery" in {one.reason for one in found.rejections if one.repository.endswith("AWQ")}


def test_a_server_of_its_own_is_a_change_that_may_help() -> None:
    of = fleet(PAIR)
    apart = next(item for item in requirements(of) if item.requirement.path == "roles.code.same_server_as")

    assert [role.name for role in apart.without(of).roles] == ["chat", "code"]
    assert all(not role.parts for role in apart.without(of).roles)
    paths = {item.requirement.path for item in requirements(of)}
    assert {"roles.chat.context.min", "roles.code.context.min", "roles.code.concurrency.min"} <= paths


def test_other_roles_name_a_server_by_any_of_its_roles() -> None:
    third = {"task": "chat", "models": ["Qwen2.5-7B-Instruct"], "context": "4k", "share_with": ["code"]}
    of = fleet({**PAIR, "roles": {**PAIR["roles"], "third": third}})

    assert of.role("third").share_with == ("chat",)
    assert of.role("third").shares_with(of.role("chat"))


def test_a_checkpoint_that_two_servers_load_is_told(tmp_path: Path) -> None:
    document = changed(PAIR, "roles.code.same_server_as", None)
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    output = run("solve", str(tmp_path / "fleet.yaml"), "--out", str(tmp_path))[1]

    assert "roles.code: loads the checkpoint of chat a second time; set same_server_as to chat" in output

    turns = {**document, "time_share": [["chat", "code"]]}
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(turns), encoding="utf-8")

    assert "a second time" not in run("solve", str(tmp_path / "fleet.yaml"), "--out", str(tmp_path))[1]
