"""Every rendered file passes the program that will read it, whatever the names in the plan."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import get_args

import msgspec
import parsed
import plans
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace
from staged import program, shellcheck

from planner.artifacts import DEFAULT_TARGETS, File, context, render, write
from planner.artifacts.context import Context, build_context
from planner.artifacts.quoting import FILTERS
from planner.errors import CheckFailed
from planner.plan import Plan

ROOT = Path(__file__).parent.parent
NASTY = "a b'\"$(touch /tmp/owned)`id`\n- x: {{ 7*7 }}\n%h ${HOME} \\ ü😀 #"


def hostile() -> Plan:
    """Names and paths that a loader would not admit, in every place where text from outside can stand."""
    return plans.plan(
        plans.server(NASTY, repository="/models/" + NASTY, local=True, revision=""),
        plans.server("--rf", repository=NASTY + "/" + NASTY, revision=NASTY, port=8002, gpu_indices=(0, 1)),
        plans.server("router", port=8003, reasoning_parser=NASTY, tool_parser=NASTY),
        plans.server("download", role="../../etc/passwd", port=8004, pooling=True),
        fleet="fleet " + NASTY,
    )


# All but the Helm values, which not every plan can have.
TARGETS = (*DEFAULT_TARGETS, "kubernetes", "litellm", "quadlet")
PLANS = {
    "two-roles": plans.two_roles(),
    "many-roles": plans.many_roles(),
    "fast": plans.fast(),
    "beside": plans.beside(),
    "hostile": hostile(),
}
TURNING = {how: plans.in_turns(how) for how in ("stop", "sleep", "sleep-2")}
"""Plans in which roles take turns: only some targets can do that."""


@pytest.fixture(params=PLANS, scope="module")
def rendered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the tests read and leave as it is."""
    folder = tmp_path_factory.mktemp("rendered") / str(request.param)
    write(render(PLANS[request.param], targets=TARGETS), folder)
    return folder


def run(*command: str | Path, **environment: str) -> None:
    """Run a validator; what it prints is the failure."""
    result = subprocess.run(
        [program(str(command[0])), *map(str, command[1:])],
        capture_output=True, text=True, check=False, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


def scripts(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*.sh"))
    assert {path.name for path in found} == {
        "launch.sh", "gate.sh", "download.sh", "load.sh", "smoke.sh", "install.sh", "install-quadlet.sh", "run.sh",
        "together.sh",
    }  # fmt: skip
    return found


def test_scripts_parse(rendered: Path) -> None:
    for path in scripts(rendered):
        run("bash", "-n", path)


def test_shellcheck_finds_nothing(rendered: Path) -> None:
    # SC2016 only remarks that the hostile names hold dollars inside single quotes, which is where they belong.
    shellcheck(*scripts(rendered), exclude="SC2016" if "hostile" in rendered.name else "SC9999")


def test_shfmt_changes_nothing(tmp_path: Path) -> None:
    write(render(plans.many_roles(), targets=TARGETS), tmp_path)
    run("shfmt", "-d", "-i", "2", "-ci", "-bn", *scripts(tmp_path))


def test_compose_follows_the_specification(rendered: Path) -> None:
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", rendered / "compose.yaml")


def test_litellm_follows_the_specification_of_compose(rendered: Path) -> None:
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", rendered / "litellm" / "compose.yaml")


def test_units_verify_and_are_hardened(rendered: Path) -> None:
    units = sorted((rendered / "systemd").glob("*.service"))
    verify = subprocess.run(
        [program("systemd-analyze"), "verify", "--man=no", *units, *(rendered / "systemd").glob("*.target")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert verify.returncode == 0, verify.stderr
    assert str(rendered) not in verify.stderr, verify.stderr
    for unit in units:
        run("systemd-analyze", "security", "--offline=true", "--threshold=40", unit)


def test_haproxy_accepts_every_configuration(rendered: Path) -> None:
    configurations = sorted((rendered / "router").glob("*.cfg"))
    assert {"haproxy.cfg", "compose.cfg"} <= {path.name for path in configurations}
    for path in configurations:
        run("haproxy", "-q", "-c", "-f", path, VLLM_API_KEY="x")


def test_json_is_json(rendered: Path) -> None:
    for path in (rendered / "router").rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))


def test_text_files_end_well(rendered: Path) -> None:
    for path in rendered.rglob("*"):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert text.endswith("\n")
            assert not text.endswith("\n\n"), path
            assert "\r" not in text
            assert not re.search(r"[ \t]+$", text, re.M), path


def test_rendering_is_a_pure_function() -> None:
    assert render(plans.many_roles(), targets=TARGETS) == render(plans.many_roles(), targets=TARGETS)


def test_no_secret_and_no_place_or_time_in_any_file() -> None:
    text = "".join(file.text for file in render(plans.two_roles(), targets=TARGETS).values())

    assert "--api-key" not in text
    assert not re.search(r"20\d\d-\d\d-\d\d", text)
    assert str(ROOT) not in text


def words_of(script: str, name: str) -> list[str]:
    """The words of an array that a rendered script holds, as bash reads them."""
    (body,) = re.findall(rf"{name}=\(\n(.*?)\n      \)", script, re.S)
    return shlex.split(body)


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(role=NAMES, model=NAMES, fleet=NAMES)
def test_any_name_reaches_the_engine_unchanged(tmp_path: Path, role: str, model: str, fleet: str) -> None:
    plan = plans.plan(plans.server("one", role=role, repository=model, revision=""), fleet=fleet)
    files = render(plan)

    words = words_of(files["launch.sh"].text, "arguments")
    assert words[0] == model
    assert words[words.index("--served-model-name") + 1] == role
    compose = parsed.one(files["compose.yaml"].text)
    command = [word.replace("$$", "$") for word in compose["services"]["one"]["command"]]
    assert f"--served-model-name={role}" in command
    assert model in command
    assert json.loads(files["router/models.json"].text)["data"][0]["id"] == role
    for path in files:
        assert ".." not in path.split("/")
        assert not path.startswith("/")
        assert path.isascii()


def test_hostile_names_run_nothing(tmp_path: Path) -> None:
    """bash itself evaluates the script with names that would run programs if one of them were not quoted."""
    marker = tmp_path / "owned"
    nasty = f"$(touch {marker})`touch {marker}`';touch {marker};'\n touch {marker}\n\"; touch {marker}; \""
    write(render(plans.plan(plans.server(nasty, repository=nasty, revision=nasty), fleet=nasty)), tmp_path / "out")
    alone = [(script, "") for script in ("smoke.sh", "download.sh", "load.sh")]
    for script, argument in (("launch.sh", "show"), ("launch.sh", "status"), *alone):
        environment = {
            "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "VLLM_API_KEY": "x", "HF_HOME": str(tmp_path / "hf"),
        }  # fmt: skip
        result = subprocess.run(
            ["bash", tmp_path / "out" / script, argument], env=environment, capture_output=True, text=True, check=False
        )
        assert "syntax error" not in result.stderr
        assert "command not found" not in result.stderr
    assert not marker.exists()


def test_a_user_overrides_one_template(tmp_path: Path) -> None:
    (tmp_path / "compose").mkdir()
    (tmp_path / "compose" / "compose.yaml.j2").write_text("# {{ fleet }}\n", encoding="utf-8")
    plan = plans.two_roles()
    shipped, files = render(plan), render(plan, tmp_path)

    assert files["compose.yaml"] == File("# workstation\n")
    assert {path for path in files if files[path] != shipped[path]} == {"compose.yaml"}


def test_a_role_more_touches_only_its_own_lines() -> None:
    """What a reviewer sees when one role changes: its own unit, and blocks in the shared files."""
    general = plans.two_roles().server("general")
    more = plans.plan(plans.server("coder"), general, plans.server("small", port=8003))
    before, after = render(plans.two_roles(), targets=TARGETS), render(more, targets=TARGETS)

    changed = {path for path in after if before.get(path) != after[path]}
    assert changed == {
        "README.md", "compose.yaml", "kubernetes/fleet/haproxy.cfg", "kubernetes/fleet/models.json",
        "kubernetes/fleet/network-policy.yaml", "kubernetes/fleet/servers.yaml", "kubernetes/weights.yaml", "launch.sh",
        "litellm/config-compose.yaml", "litellm/config.yaml", "router/litellm-compose.cfg", "router/litellm.cfg",
        "load.sh", "kubernetes/load.sh", "kubernetes/monitoring/monitors.yaml", "kubernetes/monitoring/rules.yaml",
        "monitoring/alerts.yml", "monitoring/alerts_test.yml", "monitoring/dashboard.json", "monitoring/prometheus.yml",
        "quadlet/planner-workstation--small.container", "quadlet/planner-workstation.target",
        "router/compose.cfg", "router/haproxy.cfg", "router/models.json", "smoke.sh",
        "systemd/planner-workstation--small.service", "systemd/planner-workstation.target",
    }  # fmt: skip
    sums = re.compile(
        "maxconn|limits:|storage:|sizeLimit:|progressDeadlineSeconds:|terminationGracePeriod|requests:|--ready|0[+]0x"
    )
    for path in changed & before.keys() - {"README.md", "router/models.json", "kubernetes/fleet/models.json"}:
        old, new = before[path].text.splitlines(), after[path].text.splitlines()
        missing = [line for line in old if line not in new and not sums.search(line)]
        assert missing == [], path


def test_every_way_to_start_keeps_what_was_compiled_and_says_where() -> None:
    files = render(plans.two_roles(), targets=TARGETS)
    section = files["README.md"].text.split("## What a start leaves behind")[1].split("\n## ")[0]

    places = [line for line in section.splitlines() if line.startswith("- ")]
    assert [line.split(":")[0] for line in places] == [
        "- Scripts",
        "- Docker Compose",
        "- systemd",
        "- Podman",
        "- Kubernetes",
    ]
    assert "VLLM_CACHE_ROOT: /cache/vllm" in files["compose.yaml"].text
    assert "    - cache:/cache" in files["compose.yaml"].text.splitlines()
    unit = next(file.text for path, file in files.items() if path.startswith("systemd/") and "ExecStart" in file.text)
    assert "VLLM_CACHE_ROOT=%C/" in unit
    assert "CacheDirectory=" in unit
    container = next(file.text for path, file in files.items() if path.endswith(".container"))
    assert "VLLM_CACHE_ROOT=/cache/vllm" in container
    assert "-cache.volume:/cache" in container or "_cache.volume:/cache" in container
    pods = files["kubernetes/fleet/servers.yaml"].text
    assert "VLLM_CACHE_ROOT, value: /cache/vllm" in pods
    assert "mountPath: /cache, subPath:" in pods


def seen_by_templates(kind: object) -> set[type[Struct]]:
    """Return the structs that a type is, holds in its fields, or is a list or map of."""
    own = {kind} if isinstance(kind, type) and issubclass(kind, Struct) else set()
    inner = [field.type for one in own for field in msgspec.structs.fields(one)]
    return own.union(*(seen_by_templates(part) for part in (*inner, *get_args(kind))))


def test_every_field_and_filter_is_documented() -> None:
    page = (ROOT / "docs" / "artifacts.md").read_text(encoding="utf-8")
    names = {name for kind in seen_by_templates(Context) for name in kind.__struct_fields__}

    assert {"header", "port", "evict_cost"} <= names
    assert [name for name in sorted(names | FILTERS.keys()) if f"`{name}`" not in page] == []


def test_start_order_and_memory_come_from_the_plan() -> None:
    servers = {server.name: server for server in build_context(plans.many_roles()).servers}

    assert servers["big"].after == ()
    assert servers["embed"].after == ("big",)
    assert servers["chat-1"].after == ("big", "embed")
    assert servers["chat-2"].after == ("big",)
    assert servers["big"].queue_seconds == servers["big"].start_seconds
    assert servers["chat-2"].queue_seconds == servers["big"].start_seconds + servers["chat-2"].start_seconds
    # 0.2765 of 95 GiB, rounded up, is more than the terms of the ledger together
    assert servers["embed"].memory_bytes == -(-2765 * plans.TOTAL_BYTES // 10000)


def test_a_plan_for_an_engine_that_lacks_an_option_is_not_rendered() -> None:
    with pytest.raises(CheckFailed, match=r"coder: vLLM 0\.8\.5 has no option --kv-cache-memory-bytes"):
        render(replace(plans.two_roles(), engine_version="0.8.5"))


def test_names_that_the_planner_needs_are_never_taken() -> None:
    taken = plans.plan(plans.server("router"), plans.server("download", port=8002))

    built = build_context(taken)
    assert (built.router.name, built.download_name) == ("router_", "download_")
    services = parsed.one(render(taken)["compose.yaml"].text)["services"]
    assert set(services) == {"router", "download", "router_", "download_"}
    assert context.build_context(plans.two_roles()).router.name == "router"


def test_one_figure_bounds_a_start_everywhere() -> None:
    """15 GiB of weights at 200 MB/s and the longest compilation reported, which was 2,219 s, in whole minutes."""
    targets = ("script", "compose", "systemd", "quadlet", "kubernetes", "helm-values")
    plan = plans.plan(plans.server("coder"))
    (server,) = build_context(plan, targets).servers
    files = {path: file.text for path, file in render(plan, targets=targets).items()}
    first, queue = server.start_seconds, server.queue_seconds

    assert first == 2340 >= 2219 + 15 * 2**30 / 200e6
    assert server.later_start_seconds == 420
    assert f"--timeout={first}\n" in files["compose.yaml"]
    assert f"start_period: {queue}s\n" in files["compose.yaml"]
    assert f"failureThreshold: {queue // 10 + 12}\n" in files["kubernetes/fleet/servers.yaml"]
    assert f"start_seconds={first}\n" in files["launch.sh"]
    assert f'VLLM_ENGINE_READY_TIMEOUT_S, value: "{first}"' in files["helm-values/values.yaml"]
    units = [
        text for path, text in files.items() if path.endswith((f"{server.name}.service", f"{server.name}.container"))
    ]
    assert [f"--timeout {first} " in text and f"TimeoutStartSec={queue + 120}\n" in text for text in units] == [
        True,
        True,
    ]
    assert "| 39 min | 7 min |" in files["README.md"]


def test_a_server_that_leaks_ends_alone_in_every_target_that_can() -> None:
    """Twice what a cluster is asked for, and 32 GiB."""
    targets = ("compose", "systemd", "quadlet", "kubernetes")
    files = {path: file.text for path, file in render(plans.many_roles(), targets=targets).items()}
    services = parsed.one(files["compose.yaml"])["services"]

    for server in build_context(plans.many_roles()).servers:
        assert server.memory_limit_gib == 32 + -(-2 * server.host_memory_bytes // 2**30)
        limit = services[server.name]["deploy"]["resources"]["limits"]["memory"]
        assert limit == f"${{PLANNER_MEMORY_LIMIT:-{server.memory_limit_gib}g}}"
        for name in ("systemd/planner-workstation--{}.service", "quadlet/planner-workstation--{}.container"):
            assert f"\nMemoryMax={server.memory_limit_gib}G\n" in files[name.format(server.name)]
    pods = [one for one in parsed.every(files["kubernetes/fleet/servers.yaml"]) if one["kind"] == "Deployment"]
    asked = [pod["spec"]["template"]["spec"]["containers"][0]["resources"] for pod in pods]
    assert all(int(one["limits"]["memory"][:-2]) > 32 + int(one["requests"]["memory"][:-2]) for one in asked)


def test_the_limit_has_room_for_weights_that_sleep_and_for_a_shared_memory() -> None:
    asleep, stopped = (build_context(plans.in_turns(how)).servers for how in ("sleep", "stop"))
    plain = plans.two_roles()
    gpus = tuple(replace(gpu, system_bytes=gpu.free_bytes, free_bytes=0) for gpu in plain.gpus)
    unified = build_context(replace(plain, gpus=gpus)).servers[0]
    (weights,) = {server.asleep.host_bytes for server in plans.in_turns("sleep").servers if server.asleep}

    grown = {
        sleeping.memory_limit_gib - other.memory_limit_gib for sleeping, other in zip(asleep, stopped, strict=True)
    }
    assert max(grown) * 2**30 >= 2 * weights > 0
    assert unified.memory_limit_gib * 2**30 > 2 * unified.host_memory_bytes + unified.memory_bytes


@pytest.mark.parametrize(("version", "kind"), [("0.33.0", "available"), ("0.11.0", "free")])
def test_every_target_says_what_counts_as_free_on_unified_memory(version: str, kind: str) -> None:
    plain = plans.two_roles()
    gpus = tuple(replace(gpu, system_bytes=gpu.free_bytes, free_bytes=0) for gpu in plain.gpus)
    targets = ("script", "compose", "systemd", "quadlet", "kubernetes")
    files = render(replace(plain, engine_version=version, gpus=gpus), targets=targets)
    starting = ("launch.sh", "compose.yaml", ".service", "general.container", "servers.yaml")
    told = [path for path, file in files.items() if re.search(f"--unified[ =]{kind}", file.text)]

    assert all(any(path.endswith(name) for path in told) for name in starting), told
    assert not any(
        "--unified" in file.text for path, file in render(plain, targets=targets).items() if path not in _GATES
    )


_GATES = ("gate.sh", "kubernetes/fleet/gate.sh")
