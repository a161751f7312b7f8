"""The quadlet units: the generator of podman itself reads them, and what it makes of them is what was planned."""

import re
import subprocess
import tempfile
from pathlib import Path

import plans
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from staged import program
from test_artifacts import PLANS

from planner.artifacts import render, write
from planner.artifacts.context import build_context
from planner.plan import Plan

TARGETS = ("quadlet",)
# podman 5.4 writes U+0080 to U+009F as single bytes, so a name with one of them would not survive it.
NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=["\0", *map(chr, range(0x80, 0xA0))]),
    min_size=1, max_size=30,
)  # fmt: skip


def generated(plan: Plan) -> dict[str, str]:
    """What the generator makes of the units of a plan: service name -> unit text."""
    with tempfile.TemporaryDirectory() as folder:
        write(render(plan, targets=TARGETS), Path(folder))
        result = subprocess.run(
            [program("quadlet"), "-dryrun"],
            env={"QUADLET_UNIT_DIRS": f"{folder}/quadlet"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    talk = [line for line in result.stderr.splitlines() if "Loading source unit file" not in line]
    assert (result.returncode, talk) == (0, []), result.stderr
    parts = re.split(r"^---(.+)\.service---\n", result.stdout, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def words(unit: str) -> list[str]:
    """The command line of a unit as systemd would run it: words split, escapes and specifiers undone."""
    (line,) = re.findall("^ExecStart=(.*)$", unit, re.M)
    found = re.findall(r'"(?:[^"\\]|\\.)*"|[^ \t]+', line)
    return [unquoted(word).replace("%%", "%").replace("$$", "$") for word in found]


def unquoted(word: str) -> str:
    if not word.startswith('"'):
        assert not re.search(r"[\"'\\]", word)
        return word
    plain = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}

    def undo(match: re.Match[str]) -> str:
        return chr(int(match[1][1:], 16)) if len(match[1]) > 1 else plain.get(match[1], match[1])

    return re.sub(r"\\(x[0-7][0-9a-f]|u[0-9a-f]{4}|.)", undo, word[1:-1])


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_podman_makes_one_service_of_each_server(plan: Plan) -> None:
    built = build_context(plan)
    units = generated(plan)
    names = {f"{built.unit_prefix}--{name}" for name in (*(one.name for one in built.servers), built.router.name)}

    assert set(units) == names | {f"{built.unit_prefix}_net-network", f"{built.unit_prefix}_cache-volume"}
    for server in built.servers:
        unit = units[f"{built.unit_prefix}--{server.name}"]
        command = words(unit)
        served = command[command.index("--") + 1 :]
        wanted = [word for item in server.container_arguments for word in (item.flag, item.value) if word]
        assert served == ["vllm", "serve", server.model, *wanted]
        assert f"nvidia.com/gpu={server.gpu_indices[0]}" in command
        assert f"127.0.0.1:{server.port}:{server.port}" in command


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_systemd_accepts_what_podman_makes(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "podman").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "podman").chmod(0o755)
    for name, text in generated(plan).items():
        unit = text.replace("/usr/bin/podman", str(tmp_path / "podman"))
        (tmp_path / f"{name}.service").write_text(unit, encoding="utf-8")
    units = sorted(tmp_path.glob("*.service"))
    verify = subprocess.run(
        [program("systemd-analyze"), "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert verify.returncode == 0, verify.stderr
    # The sections podman took its settings from stay in the unit as X-Container, which systemd skips.
    assert not [line for line in verify.stderr.splitlines() if str(tmp_path) in line], verify.stderr


def test_a_server_waits_for_those_before_it_on_its_gpus() -> None:
    units = generated(plans.many_roles())
    after = {
        name.removeprefix("planner-workstation--"): set(
            re.findall(r"planner-workstation--([\w-]+)\.service", " ".join(re.findall("^After=(.*)$", unit, re.M)))
        )
        for name, unit in units.items()
        if name.startswith("planner-workstation--")
    }

    assert after == {
        "big": set(), "embed": {"big"}, "chat-1": {"big", "embed"}, "chat-2": {"big"}, "router": set(),
    }  # fmt: skip
    for name in ("big", "embed", "chat-1", "chat-2"):
        unit = units[f"planner-workstation--{name}"]
        assert "--sdnotify=healthy" in unit
        assert "StartLimitBurst=4" in unit
        assert "/opt/planner/locks/gpu-" in unit


def test_no_secret_and_no_open_port() -> None:
    files = render(plans.many_roles(), targets=TARGETS)
    text = "".join(file.text for path, file in files.items() if path.endswith(".container"))

    assert "VLLM_API_KEY=" not in text
    assert set(re.findall("^PublishPort=(.*?):", text, re.M)) == {"127.0.0.1"}
    assert text.count("Secret=planner-workstation-key,type=env,target=VLLM_API_KEY") == 5
    assert text.count("DropCapability=all\nNoNewPrivileges=true") == 5


@settings(max_examples=25, deadline=None)
@given(role=NAMES, model=NAMES, revision=NAMES, fleet=NAMES)
def test_any_name_reaches_the_engine_unchanged(role: str, model: str, revision: str, fleet: str) -> None:
    plan = plans.plan(plans.server("one", role=role, repository=model, revision=revision), fleet=fleet)
    (unit,) = [text for name, text in generated(plan).items() if name.endswith("-one")]
    command = words(unit)
    served = command[command.index("--") + 1 :]

    assert served[:3] == ["vllm", "serve", model]
    assert served[served.index("--served-model-name") + 1] == role
    assert served[served.index("--revision") + 1] == revision


@pytest.mark.parametrize("path", ["/models/plain", "/models/two words", "/models/a,b\"c':d$e%f"])
def test_a_local_folder_is_mounted_where_the_engine_looks(path: str) -> None:
    plan = plans.plan(plans.server("one", repository=path, revision="", local=True))
    command = words(generated(plan)["planner-workstation--one"])
    field = path.replace('"', '""')

    assert command[command.index("--mount") + 1] == f'type=bind,"source={field}","destination={field}",ro=true'


def test_the_installer_fills_a_root_folder(tmp_path: Path) -> None:
    write(render(plans.two_roles(), targets=TARGETS), tmp_path / "fleet")
    script = tmp_path / "fleet" / "quadlet" / "install-quadlet.sh"
    environment = {"PATH": "/usr/bin:/bin", "DESTDIR": str(tmp_path / "root")}
    for _ in range(2):
        subprocess.run(["bash", script], env=environment, check=True, capture_output=True)
    root = tmp_path / "root"
    units = {path.name for path in (root / "etc/containers/systemd/planner-workstation").iterdir()}

    assert units == {
        "planner-workstation--coder.container", "planner-workstation--general.container",
        "planner-workstation--router.container", "planner-workstation_cache.volume", "planner-workstation_net.network",
    }  # fmt: skip
    assert (root / "etc/systemd/system/planner-workstation.target").is_file()
    assert (root / "etc/planner/workstation/locks/gpu-0").is_file()
    subprocess.run(["bash", script, "remove"], env=environment, check=True, capture_output=True)
    assert [path for path in root.rglob("*") if path.is_file()] == []


def test_the_installer_does_not_mix_with_the_units_of_systemd(tmp_path: Path) -> None:
    write(render(plans.two_roles(), targets=("systemd", "quadlet")), tmp_path / "fleet")
    environment = {"PATH": "/usr/bin:/bin", "DESTDIR": str(tmp_path / "root"), "VLLM_API_KEY": "x"}
    subprocess.run(["bash", tmp_path / "fleet/systemd/install.sh"], env=environment, check=True, capture_output=True)
    result = subprocess.run(
        ["bash", tmp_path / "fleet/quadlet/install-quadlet.sh"],
        env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip

    assert result.returncode == 78
    assert "planner-workstation--coder.service is installed from systemd/; remove that first" in result.stderr


def test_the_installer_is_a_clean_script(tmp_path: Path) -> None:
    write(render(plans.many_roles(), targets=TARGETS), tmp_path)
    script = str(tmp_path / "quadlet" / "install-quadlet.sh")
    for command in (
        ["shellcheck", "--shell=bash", "--severity=style", "--enable=all", script],
        ["shfmt", "-d", "-i", "2", "-ci", "-bn", script],
    ):
        result = subprocess.run([program(command[0]), *command[1:]], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout
