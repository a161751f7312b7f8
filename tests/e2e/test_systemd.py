"""The units, unmodified, on a booting systemd with the real vLLM on CPU inside all of their hardening."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from proving import KEY, copy_root, in_order, prepared, tiny_fleet
from staged import FAKES

from planner.artifacts import render, write

pytestmark = pytest.mark.e2e

ENGINE = """#!/bin/sh
export PYTHONPATH=/opt/site LD_LIBRARY_PATH=/opt/python/lib
exec /opt/python/bin/python3 -c 'from vllm.entrypoints.cli.main import main; main()' "$@"
"""
PROOF = """#!/bin/bash
exec >/proof.log 2>&1
trap 'systemctl poweroff' EXIT
unit=planner-workstation
journal() { journalctl --no-pager -o cat -u "$unit--*"; }
echo "== start"; systemctl start $unit.target
journal | grep -E "^(Start|gate)"
echo "== smoke"; VLLM_API_KEY=@KEY@ /etc/planner/workstation/smoke.sh
echo "== user"; ps -o user= -p "$(systemctl show -p MainPID --value $unit--coder)"
echo "== crash"; systemctl kill --signal=KILL --kill-who=main $unit--coder; sleep 5
systemctl is-active $unit--coder $unit--general
for i in $(seq 60); do [ "$(systemctl is-active $unit--coder)" = active ] && break; sleep 3; done
systemctl is-active $unit--coder $unit--general
echo "== restart"; mark=$(journal | wc -l); systemctl restart $unit--general $unit--coder
journal | tail -n +$((mark + 1)) | grep -E "^(Start|Stopped|gate)"
echo "== refuse"; systemctl stop $unit--general; sed -i s/NVIDIA/OTHER/ /usr/local/bin/nvidia-smi
mark=$(journal | wc -l); systemctl start $unit--general; sleep 25; systemctl is-active $unit--general
journal | tail -n +$((mark + 1)) | grep -E "^(Start|Sched|gate)"
echo "== stop"; systemctl stop "$unit.target" "$unit--*"; ps -eo args | grep -cE "[v]llm serve|[V]LLM::|[h]aproxy"
echo "== end"
"""
BOOT = """[Unit]
Description=Proof
[Service]
Type=exec
ExecStart=/usr/local/bin/proof
"""


def test_the_units_start_serve_restart_refuse_and_stop(tmp_path: Path) -> None:
    log = boot(prepared_root(tmp_path))
    parts = dict(part.split("\n", 1) for part in log.split("== ")[1:])

    in_order(
        parts["start"],
        "Starting planner-workstation--coder",
        "Started planner-workstation--coder",
        "Starting planner-workstation--general",
        "Started planner-workstation--general",
    )
    assert "all checks passed" in parts["smoke"], log
    assert "KV tokens: 131072, planned 131072" in parts["smoke"]
    assert parts["user"].strip() not in ("", "root")
    assert parts["crash"].split() == ["activating", "active", "active", "active"], "one falls, the other stays"
    in_order(
        parts["restart"],
        "Started planner-workstation--coder",
        "Starting planner-workstation--general",
        "Started planner-workstation--general",
    )
    assert "gate: the plan is for NVIDIA RTX PRO 6000" in parts["refuse"]
    assert "Scheduled restart" not in parts["refuse"], "what no restart can mend is not restarted"
    assert parts["stop"].strip() == "0"
    assert "end" in parts


def prepared_root(tmp_path: Path) -> Path:
    """A root file system with the fleet installed by its own script."""
    root = copy_root(tmp_path / "root")
    for folder in ("opt/python", "opt/site", "opt/vllm/bin", "srv/models"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    shutil.copytree(prepared() / "models", root / "srv/models", dirs_exist_ok=True)
    for path, text in {"opt/vllm/bin/vllm": ENGINE, "usr/local/bin/proof": PROOF.replace("@KEY@", KEY)}.items():
        (root / path).write_text(text, encoding="utf-8")
        (root / path).chmod(0o755)
    shutil.copy(FAKES / "nvidia-smi", root / "usr/local/bin/nvidia-smi")
    wants = root / "etc/systemd/system/multi-user.target.wants"
    (wants / "haproxy.service").unlink(missing_ok=True)
    (root / "etc/systemd/system/proof.service").write_text(BOOT, encoding="utf-8")
    (wants / "proof.service").symlink_to("../proof.service")
    write(render(tiny_fleet(Path("/srv/models"), 8001, 8002)), tmp_path / "fleet")
    environment = {"PATH": os.environ["PATH"], "DESTDIR": str(root), "VLLM_API_KEY": KEY}
    subprocess.run(["bash", tmp_path / "fleet/systemd/install.sh"], env=environment, check=True)
    return root


def boot(root: Path) -> str:
    python = prepared() / "vllm/bin/python"
    code = "import sys, sysconfig; print(sys.base_prefix); print(sysconfig.get_path('purelib'))"
    prefix, site = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(
        ["systemd-nspawn", "-q", "-D", root, "--register=no", "--keep-unit", "--private-network",
         f"--bind-ro={prefix}:/opt/python", f"--bind-ro={site}:/opt/site", "-b"],
        capture_output=True, timeout=1500, check=False,
    )  # fmt: skip
    return (root / "proof.log").read_text(encoding="utf-8")
