"""planner verify: the rendered files say what the plan says, and any change in them is noticed."""

from pathlib import Path

import plans
import pytest
import yaml
from click.testing import CliRunner
from fleets import PAIR, catalog, changed, fleet
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from solving import pair
from staged import amend

from planner.artifacts import DEFAULT_TARGETS, EXTRA_TARGETS, render, write
from planner.artifacts.kserve import KSERVE
from planner.artifacts.quoting import systemd
from planner.artifacts.read_back import read_back, systemd_words
from planner.artifacts.read_routes import wrong_routes
from planner.artifacts.serve_args import planned_server, serve_arguments
from planner.artifacts.verify import verify
from planner.cli import main
from planner.engine.options import engine_options
from planner.errors import InputError
from planner.plan import Plan, plan_to_yaml
from planner.solve import solve

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
NEWEST = engine_options("0.33.0")


def no_option(name: str) -> bool:
    """An option's value that looks like an option is one for argparse; the catalog has no such name."""
    return not name.startswith("-")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(render(pair()), tmp_path)
    return tmp_path


def found(folder: Path) -> list[str]:
    return [str(difference) for difference in verify(pair(), fleet(PAIR), catalog(), folder)[1]]


def test_what_was_rendered_is_the_plan(folder: Path) -> None:
    targets, differences = verify(pair(), fleet(PAIR), catalog(), folder)

    assert targets == ("launch.sh", "compose.yaml", "systemd", "router")
    assert differences == []


@pytest.mark.parametrize("plan", [plans.two_roles(), plans.many_roles()], ids=["two", "many"])
def test_every_target_holds_every_server(plan: Plan, tmp_path: Path) -> None:
    write(render(plan, targets=("script", "compose", "systemd", "quadlet", "kubernetes")), tmp_path)
    files = read_back(tmp_path)
    assert {path.split("/")[0] for path in files} == {"launch.sh", "compose.yaml", "systemd", "quadlet", "kubernetes"}
    for path, commands in files.items():
        for command in commands:
            server = plan.server(command.server)
            host = "127.0.0.1" if path.startswith(("launch", "systemd")) else "0.0.0.0"
            assert command.model == server.repository
            assert command.gpu_indices == server.gpu_indices, path
            assert command.arguments == serve_arguments(server, NEWEST, host=host)


CHANGES = [
    ("router/haproxy.cfg", "server coder 127.0.0.1:8001", "server coder 127.0.0.1:8002",
     "router: haproxy.cfg: coder is answered by 127.0.0.1:8002, planned 127.0.0.1:8001"),
    ("router/compose.cfg", "  server general general:", "  # server general:", "general is answered by nobody"),
    ("router/haproxy.cfg", "-- general }", "-- generals }", "router: haproxy.cfg: general is answered by nobody"),
    ("launch.sh", "--max-num-seqs ", "--max-num-seqs 1", "launch.sh: coder: --max-num-seqs is"),
    ("launch.sh", "  --kv-cache-dtype", "  --enforce-eager\n  --kv-cache-dtype", "has --enforce-eager, which"),
    ("launch.sh", "gpus=(0)", "gpus=(1)", "runs on GPU 1, planned 0"),
    ("launch.sh", "        --dtype auto\n", "", "lacks --dtype auto"),
    ("compose.yaml", '"--max-model-len=', '"--max-model-len=1', "compose.yaml: coder: --max-model-len is 1"),
    ("compose.yaml", '"--kv-cache-memory-bytes=', '"--kv-cache-size=', "vLLM 0.33.0 has no option --kv-cache-size"),
    ("systemd/planner-pair--general.service", "serve neuralmagic/", "serve neural/", "general: serves neural/"),
    ("systemd/planner-pair--general.service", "--port 8", "--port 9", "systemd: general: --port is 9"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "message"), CHANGES)
def test_a_change_by_hand_is_named(folder: Path, file: str, old: str, new: str, message: str) -> None:
    amend(folder / file, old, new)

    assert any(message in line for line in found(folder)), found(folder)


def test_every_other_target_is_verified_too(tmp_path: Path) -> None:
    for name, target in {"quadlet": "quadlet", "kubernetes": "kubernetes"}.items():
        write(render(pair(), targets=(name,)), tmp_path / name)

        targets, differences = verify(pair(), fleet(PAIR), catalog(), tmp_path / name)
        assert (targets, differences) == (tuple(sorted({target, "router"})), [])


def test_helm_values_of_a_server_with_a_gpu_of_its_own(tmp_path: Path) -> None:
    alone = changed(PAIR, "roles.general", None)
    plan = solve(fleet(alone), catalog())
    assert isinstance(plan, Plan)
    write(render(plan, targets=("helm-values",)), tmp_path)
    assert verify(plan, fleet(alone), catalog(), tmp_path) == (("helm-values", "router"), [])

    amend(tmp_path / "helm-values" / "values.yaml", '"--max-model-len=', '"--max-model-len=1')
    differences = verify(plan, fleet(alone), catalog(), tmp_path)[1]
    assert any("helm-values: coder: --max-model-len is 1" in str(difference) for difference in differences)


def test_the_routes_of_litellm_are_read_back_too(tmp_path: Path) -> None:
    write(render(pair(), targets=("script", "litellm")), tmp_path)
    targets, differences = verify(pair(), fleet(PAIR), catalog(), tmp_path)
    assert (targets, differences) == (("launch.sh", "router", "litellm"), [])

    amend(tmp_path / "litellm" / "config.yaml", "http://127.0.0.1:8002", "http://127.0.0.1:8001")
    assert found(tmp_path) == [
        "litellm: config.yaml: general is answered by 127.0.0.1:8001, planned 127.0.0.1:8002",
    ]  # fmt: skip
    amend(tmp_path / "litellm" / "config.yaml", "hosted_vllm/general", "hosted_vllm/coder")
    with pytest.raises(InputError, match="general asks for hosted_vllm/coder, not hosted_vllm/general"):
        found(tmp_path)


def test_a_change_is_sized_again(folder: Path) -> None:
    """More sequences and a larger cache in one file do not only differ: they no longer fit."""
    cache_bytes = pair().server("coder").kv_cache_memory_bytes
    amend(folder / "launch.sh", f"--kv-cache-memory-bytes {cache_bytes}", f"--kv-cache-memory-bytes {9 * cache_bytes}")

    lines = found(folder)

    assert any("--kv-cache-memory-bytes is" in line for line in lines)
    assert any("coder" in line and "ledger" in line for line in lines), lines


def test_a_missing_server_is_named(folder: Path) -> None:
    (folder / "systemd" / "planner-pair--general.service").unlink()

    assert found(folder) == ["systemd: general: is not in the file"]


def test_what_cannot_be_read_back_is_an_error(folder: Path, tmp_path: Path) -> None:
    (folder / "compose.yaml").write_text("services: [", encoding="utf-8")
    with pytest.raises(InputError, match=r"compose.yaml: cannot be read back"):
        verify(pair(), fleet(PAIR), catalog(), folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has no rendered files"):
        read_back(tmp_path / "empty")


@settings(deadline=None)
@given(NAMES)
def test_a_unit_line_is_read_as_systemd_reads_it(text: str) -> None:
    assert systemd_words(f"/bin/true {systemd(text)} --last") == ["/bin/true", text, "--last"]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(model=NAMES.filter(no_option), parser=NAMES.filter(no_option))
@example(model=")", parser="'")
@example(model="a ) b\n      )\n", parser="\r")
def test_hostile_names_survive_the_round_trip(tmp_path: Path, model: str, parser: str) -> None:
    server = plans.server("one", repository=model, revision="", reasoning_parser=parser)
    plan = plans.plan(server, engine_version="0.32.0")
    # KServe is refused what a shell reads as something else.
    targets = [name for name in (*DEFAULT_TARGETS, *EXTRA_TARGETS) if name != KSERVE]
    write(render(plan, targets=targets), tmp_path, force=True)

    for path, (command,) in read_back(tmp_path).items():
        assert command.model == model, path
        assert {one.flag: one.value for one in command.arguments}["--reasoning-parser"] == parser, path
    assert set(wrong_routes(plan, tmp_path)) > {"router/haproxy.cfg", "litellm/config.yaml"}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(role=NAMES)
@example('a"b$c\\ \x1b \u2028')
def test_hostile_roles_are_read_back_from_every_router(tmp_path: Path, role: str) -> None:
    plan = plans.plan(plans.server("one", role=role), fleet="x")
    write(render(plan, targets=("kubernetes", "litellm")), tmp_path, force=True)

    assert wrong_routes(plan, tmp_path) == {
        "router/haproxy.cfg": [], "router/compose.cfg": [], "kubernetes/fleet/haproxy.cfg": [],
        "litellm/config.yaml": [], "litellm/config-compose.yaml": [],
    }  # fmt: skip


def test_options_become_the_server_again() -> None:
    for server in (*plans.two_roles().servers, *plans.many_roles().servers):
        blank = replace(server, port=1, role="", max_num_seqs=1, kv_cache_memory_bytes=1, dtype="half")
        assert planned_server(blank, serve_arguments(server, NEWEST)) == server


def test_the_command(folder: Path) -> None:
    write(render(pair()), folder / "artifacts")
    (folder / "plan.yaml").write_text(plan_to_yaml(pair()), encoding="utf-8")
    (folder / "fleet.yaml").write_text(yaml.safe_dump(PAIR), encoding="utf-8")
    good = CliRunner().invoke(main, ["verify", str(folder)])
    assert (good.exit_code, good.output.splitlines()) == (
        0, ["fleet: not changed since the plan",
            "launch.sh: starts the plan", "compose.yaml: starts the plan", "systemd: starts the plan",
            "router: starts the plan"],
    )  # fmt: skip

    amend(folder / "artifacts" / "launch.sh", "--dtype auto", "--dtype float16")
    bad = CliRunner().invoke(main, ["verify", str(folder)])
    assert bad.exit_code == 5
    assert "launch.sh: coder: --dtype is float16, planned auto" in bad.output
