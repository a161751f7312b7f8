"""``planner init`` for GPUs and models that are named, and what it refuses because ``planner solve`` would."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from documents import valid
from fleets import catalog

from planner.cli import main
from planner.fleet import Fleet, load_fleet


def run(*arguments: str) -> Result:
    return CliRunner(catch_exceptions=False).invoke(main, ["init", *arguments])


def made(folder: Path, *arguments: str) -> Fleet:
    result = run(str(folder / "fleet.yaml"), *arguments, "--force")
    assert result.exit_code == 0, result.output
    return load_fleet(folder / "fleet.yaml", catalog())


def pools(fleet: Fleet) -> list[tuple[str, str, int, int]]:
    return [(pool.name, pool.gpu.name, pool.gpus_per_node, pool.nodes) for pool in fleet.pools]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["L40S:4"], [("gpu", "L40S", 4, 1)]),
        (["g6e.12xlarge"], [("gpu", "L40S", 4, 1)]),
        (["g6e.12xlarge:2"], [("g6e-12xlarge", "L40S", 4, 2)]),
        (["NVIDIA L4", "L40S:2"], [("l4", "L4", 1, 1), ("l40s", "L40S", 2, 1)]),
        (["L4:2", "l4", "g6e.xlarge:3"], [("l4", "L4", 2, 1), ("l4-2", "L4", 1, 1), ("g6e-xlarge", "L40S", 1, 3)]),
    ],
    ids=["count", "instance", "instances", "two-kinds", "twice"],
)
def test_gpus_become_one_machine_or_a_pool_each(
    asked: list[str], found: list[tuple[str, str, int, int]], tmp_path: Path
) -> None:
    fleet = made(tmp_path, *(word for name in asked for word in ("--gpu", name)))

    assert sorted(pools(fleet)) == sorted(found)


@pytest.mark.parametrize(
    ("model", "task", "context"),
    [
        ("Qwen/Qwen3-8B", "general", (8192, 32768)),
        ("BAAI/bge-m3", "embedding", (8192, 8192)),
        ("BAAI/bge-reranker-v2-m3", "rerank", (8192, 8192)),
        ("whisper-large-v3", "transcription", (448, 448)),
    ],
)
def test_a_model_has_a_role_that_it_can_do(model: str, task: str, context: tuple[int, int], tmp_path: Path) -> None:
    (role,) = made(tmp_path, "--gpu", "L40S", "--model", model).roles

    assert (role.task, [one.repository for one in role.models]) == (task, [catalog().find(model)[0].repository])
    assert (role.context_min, role.context_wish) == context
    assert (role.prompt_tokens or 0) + (role.output_tokens or 0) <= context[0]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--gpu", "L4Z:2"], 1, "error: unknown GPU 'L4Z'\n  hint: did you mean L4 or L40 or L40S?\n"),
        (["--gpu", "MI300X"], 1, "the fleet asked for: gpu.name: no plan can be made for Instinct MI300X\n"),
        (["--gpu", "L4", "--gpu", "MI300X:8"], 1, "no plan can be made for Instinct MI300X\n"),
        (["--gpu", "g6e.12xlarg"], 1, "did you mean g6e.12xlarge"),
        (["--gpu", "L4:0"], 2, "'L4:0' is not NAME or NAME:COUNT, such as L40S:4"),
        (["--gpu", "L4:20000"], 1, "gpu.count: expected a whole number of GPUs from 1 to 16384, not 20000"),
        (["--gpu", "L4", "--model", "Qwen3-8X"], 1, "error: unknown model 'Qwen3-8X'"),
    ],
    ids=["gpu", "vendor", "vendor-in-a-pool", "instance", "none", "many", "model"],
)
def test_what_solve_would_refuse_is_not_written(arguments: list[str], code: int, said: str, tmp_path: Path) -> None:
    result = run(str(tmp_path / "fleet.yaml"), *arguments)

    assert (result.exit_code, result.stdout, list(tmp_path.iterdir())) == (code, "", [])
    assert said in result.stderr


def test_a_model_that_does_not_fit_is_explained_and_not_written(tmp_path: Path) -> None:
    asked = (str(tmp_path / "fleet.yaml"), "--gpu", "L4", "--model", "Llama-3.1-405B-Instruct")
    result = run(*asked)

    assert (result.exit_code, list(tmp_path.iterdir())) == (3, [])
    assert result.stdout.startswith("no plan exists for my-fleet")
    assert valid("no-plan", run(*asked, "--json").stdout)["fleet"] == "my-fleet"
