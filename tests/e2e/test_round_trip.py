"""The loop closed on the real engine: solved, started, asked, loaded, and the next plan changes by what was learnt.

The CPU shows that the files which ``solve`` wrote start, that the log which ``launch.sh`` kept is read to its end, and
that nothing is learnt from it, for a CPU has no GPU memory to tell of. What ``load.sh`` measured is real, too, but of a
CPU: the test gives it out as an RTX 4090's, so it shows that the speed of the next plan is what was measured, not how
fast that GPU is. Two figures that only a GPU prints are put into the log of the CPU in the words of the engine
(``v1/worker``, 0.32.0). They are made up, so they show what such a log changes, not what a GPU would say.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from proving import ENGINE_VERSION, prepared, real_stage
from staged import Stage, free_ports

from planner.cli import main
from planner.plan import plan_from_yaml
from planner.units import GIB

pytestmark = pytest.mark.e2e

GPU = "RTX 4090"
LESS_GIB = 0.1
SPEED = [f"servers.0.speed.{figure}" for figure in ("output_millitokens_per_second", "tpot_us", "ttft_us")]


def planner(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def calibrated(*words: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(planner("calibrate", *words, "--gpu", GPU, "--json").stdout)
    return found


def kept(catalog: Path, *words: str | Path) -> dict[str, Any]:
    """Return what files teach, which a catalog folder of its own has afterwards."""
    catalog.mkdir()
    return calibrated(*words, "--catalog", catalog, "--write")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a fleet of one tiny model, and its first plan."""
    folder = tmp_path_factory.mktemp("desk")
    coder = {
        "task": "code",
        "models": [str(prepared() / "models" / "tiny coder")],
        "context": "2k",
        "concurrency": 4,
        "request": {"prompt_tokens": 512, "output_tokens": 256},
        "port": free_ports(1)[0],
        "block_size": 128,  # the CPU's own; a GPU has smaller ones
    }
    engine = {"name": "vllm", "version": ENGINE_VERSION}
    fleet = {"name": "desk", "engine": engine, "gpu": GPU, "roles": {"coder": coder}}
    (folder / "fleet.yaml").write_text(yaml.safe_dump(fleet), encoding="utf-8")
    solved(folder, "first")
    return folder


@pytest.fixture(scope="module")
def ran(desk: Path) -> Iterator[Stage]:
    """The very files of the first plan, started, asked and loaded; what load.sh printed is beside them."""
    plan = plan_from_yaml(desk / "first" / "plan.yaml")
    environment = real_stage(plan, desk, FAKE_GPU_NAME=plan.gpus[0].product).environment
    staged = Stage(desk / "first" / "artifacts", environment)
    try:
        up = staged.run("launch.sh", "up", timeout=1800)
        assert up.returncode == 0, up.stderr
        smoke = staged.run("smoke.sh", timeout=300)
        assert smoke.returncode == 0, smoke.stdout
        tokens = plan.server("coder").kv_cache_tokens
        assert f"KV tokens: {tokens}, planned {tokens}" in smoke.stdout
        load = staged.run("load.sh", "coder", timeout=900)
        assert load.returncode == 0, load.stdout + load.stderr
        (desk / "load.txt").write_text(load.stdout, encoding="utf-8")
        yield staged
    finally:
        staged.run("launch.sh", "down", timeout=200)


def solved(desk: Path, name: str, *catalog: Path) -> str:
    options = [word for folder in catalog for word in ("--catalog", folder)]
    return planner("solve", desk / "fleet.yaml", "--out", desk / name, *options).output


def changed(desk: Path, name: str) -> dict[str, tuple[object, object]]:
    """Return what differs between the first plan and another, before and after, by its place in plan.yaml."""
    before, after = (
        dict(leaves(yaml.safe_load((desk / one / "plan.yaml").read_text(encoding="utf-8")))) for one in ("first", name)
    )
    return {key: (before.get(key), after.get(key)) for key in before | after if before.get(key) != after.get(key)}


def leaves(value: object, where: str = "") -> Iterator[tuple[str, object]]:
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else None
    if pairs is None:
        yield where, value
        return
    for key, one in pairs:
        yield from leaves(one, f"{where}.{key}" if where else str(key))


def test_the_log_of_a_cpu_teaches_nothing_and_says_why(desk: Path, ran: Stage) -> None:
    log, catalog = ran.folder / "logs" / "coder.log", desk / "from the CPU"
    assert json.loads(planner("diagnose", log, "--json").stdout)["cause"] == "started"

    (start,) = kept(catalog, log)["starts"]
    solved(desk, "as before", catalog)

    assert start["why_not"] == "the size of its KV cache was given, and it does not say that of its weights"
    assert not list(catalog.iterdir())
    assert not changed(desk, "as before")
    written = {path.relative_to(desk / "as before"): path.read_bytes() for path in files(desk / "as before")}
    assert written == {path: (desk / "first" / path).read_bytes() for path in written}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_load_sh_measured_changes_the_speed_and_nothing_else(desk: Path, ran: Stage) -> None:
    (test,) = kept(desk / "speeds", desk / "load.txt", "--plan", desk / "first" / "plan.yaml")["load_tests"]
    said = solved(desk, "at that speed", desk / "speeds")

    assert test["why_not"] is None
    assert f"speeds on {GPU} heed your own load tests: 1" in said
    found = changed(desk, "at that speed")
    figures = {f"{figure}.{end}" for figure in SPEED for end in ("low", "value", "high")}
    assert set(found) == {"servers.0.speed.grade", "lock.speed_sha256", *figures}
    assert found["servers.0.speed.grade"][1] == "measured here"
    measured_us = 1000 * test["measured"]["tpot_ms"]
    low, high = (found[f"servers.0.speed.tpot_us.{end}"][1] for end in ("low", "high"))
    assert isinstance(low, int)
    assert isinstance(high, int)
    assert low <= measured_us <= high


def test_what_a_gpu_would_print_changes_the_margin_and_what_follows_from_it(desk: Path, ran: Stage) -> None:
    log = desk / "gpu.log"
    text = (ran.folder / "logs" / "coder.log").read_text(encoding="utf-8")
    log.write_text(of_a_gpu(text, 0.0), encoding="utf-8")
    (start,) = calibrated(log)["starts"]
    log.write_text(of_a_gpu(text, start["expected_kv_cache_gib"] - LESS_GIB), encoding="utf-8")

    (start,) = kept(desk / "starts", log)["starts"]
    said = solved(desk, "as started", desk / "starts")

    assert start["more_gib"] == pytest.approx(-LESS_GIB, abs=0.01)
    assert not start["outlier"]
    assert f"the margins on {GPU} heed your own start-ups: 1" in said
    found = changed(desk, "as started")
    assert set(found) == {
        "servers.0.ledger.margin_bytes",
        "servers.0.gpu_memory_utilization",
        "gpus.0.free_bytes",
        *(f"proof.stages.{headroom(desk)}.{end}" for end in ("value", "bound")),
        "proof.model_sha256",
        "lock.catalog_sha256",
    }
    before, after = found["servers.0.ledger.margin_bytes"]
    assert isinstance(before, int)
    assert isinstance(after, int)
    assert LESS_GIB * GIB <= after < before
    free_before, free_after = found["gpus.0.free_bytes"]
    assert isinstance(free_before, int)
    assert free_after == free_before + before - after
    model = prepared() / "models" / "tiny coder"
    asked = ("estimate", model, "--gpu", GPU, "--engine-version", ENGINE_VERSION, "--catalog", desk / "starts")
    assert (
        f"measured: -{LESS_GIB:.2f} GiB of KV cache, from 1 of your own start-ups of this model"
        in planner(*asked).stdout
    )


def of_a_gpu(text: str, kv_gib: float) -> str:
    """Return the log of a start whose KV cache was not given, with what a GPU has left for it."""
    text = re.sub(r"'kv_cache_memory_bytes': \d+, ", "", text)
    lines = [line for line in text.splitlines(keepends=True) if "KV cache" not in line]
    engine = next(index for index, line in enumerate(lines) if "Initializing a V1 LLM engine" in line)
    prefix = lines[engine].split(" [")[0]
    return "".join(
        [
            *lines[: engine + 1],
            f"{prefix} [gpu_model_runner.py:5150] Model loading took 0.01 GiB memory and 0.100000 seconds\n",
            f"{prefix} [gpu_worker.py:760] Available KV cache memory: {kv_gib:.2f} GiB\n",
            *lines[engine + 1 :],
        ]
    )


def headroom(desk: Path) -> int:
    """Return which stage of the first plan's proof is that of the memory left free."""
    stages = plan_from_yaml(desk / "first" / "plan.yaml").proof.stages
    return next(index for index, stage in enumerate(stages) if stage.name == "headroom")
