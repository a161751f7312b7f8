"""``-`` for a file: the same is said as of a file with that text, and problems are placed in ``<stdin>``."""

import json
from pathlib import Path

import pytest
from commands import invoke

from planner.adopt.kinds import usual_name

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "coder-alone"
CASES = Path(__file__).parent / "cases"
FLEET = """\
name: lab
engine: {version: 0.33.0}
gpu: L4
roles:
  finder: {task: embedding, models: BAAI/bge-m3, context: 4k}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_solve_prints_the_plan_and_writes_only_into_a_folder_that_is_named(folder: Path) -> None:
    (folder / "plan.yaml").write_text("no plan\n")  # of another fleet; it is not followed
    printed = invoke("solve", "-", given=FLEET)
    assert (printed.exit_code, [path.name for path in folder.iterdir()]) == (0, ["plan.yaml"])
    assert "--out DIR writes the plan" in printed.stderr
    assert "plan.yaml" not in printed.stderr
    assert invoke("solve", "-", "--check", given=FLEET).exit_code == 2

    (folder / "fleet.yaml").write_text(FLEET)
    written = invoke("solve", "-", "--out", "there", given=FLEET)
    assert written.stdout == printed.stdout
    assert invoke("solve", "fleet.yaml", "--out", "there", "--check").exit_code == 0
    assert invoke("render", "there", "--check", "--fleet", "-", given=FLEET).exit_code == 0
    plan = (folder / "there" / "plan.yaml").read_text()
    assert invoke("render", "-", given=plan).exit_code == 2
    assert invoke("render", "-", "--out", "elsewhere", given=plan).exit_code == 0
    assert (folder / "elsewhere" / "plan.yaml").read_text() == plan
    assert invoke("render", "elsewhere/plan.yaml", "--out", "there", "--fleet", "fleet.yaml", "--check").exit_code == 0
    assert invoke("diff", "-", "there/plan.yaml", given=plan).exit_code == 0
    assert invoke("report", "-", "--fleet", "fleet.yaml", given=plan).exit_code == 0


def test_problems_are_placed_in_standard_input(folder: Path) -> None:
    wrong = FLEET.replace("4k", "4q").replace("L4", "L4Z")
    for command in (
        ["solve", "-"],
        ["explain", "-"],
        ["what-if", "-"],
        ["pareto", "-", "--x", "cost", "--y", "context"],
    ):
        found = invoke(*command, given=wrong)
        assert (found.exit_code, found.stdout) == (1, "")
        assert "<stdin>:3:6: gpu: unknown GPU 'L4Z'" in found.stderr
        assert "<stdin>:5:59: roles.finder.context: expected a token count" in found.stderr
    error = json.loads(invoke("solve", "-", "--json", given="a: [\n").stdout)["error"]
    assert (error["problems"][0]["file"], error["problems"][0]["line"]) == ("<stdin>", 2)
    assert "<stdin>: this is not a plan" in invoke("diff", "-", EXAMPLE / "plan.yaml", given="a: b\n").stderr
    assert "<stdin>:1:2: is not JSON" in invoke("estimate", "-", "--gpu", "L4", given="{").stderr


def test_it_can_be_one_file_alone() -> None:
    both = invoke("diff", "-", "-", given=(EXAMPLE / "plan.yaml").read_text())

    assert both.exit_code == 2
    assert "standard input can be one file alone" in both.stderr


def test_models_of_a_folder_start_in_the_working_directory(folder: Path) -> None:
    (folder / "mine").mkdir()
    found = invoke("solve", "-", given=FLEET.replace("BAAI/bge-m3", "./mine"))

    assert found.exit_code == 1
    assert "<stdin>:5:37: roles.finder.models: mine" in found.stderr
    assert "config.json" in found.stderr


def test_estimate_reads_a_config() -> None:
    config = {
        "architectures": ["MistralForCausalLM"], "model_type": "mistral", "torch_dtype": "bfloat16",
        "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 32768, "num_attention_heads": 32,
        "vocab_size": 32768, "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
        "rope_theta": 1000000.0, "sliding_window": None, "tie_word_embeddings": False, "hidden_act": "silu",
    }  # fmt: skip
    own = invoke("estimate", "-", "--gpu", "L40S", "--json", given=json.dumps(config))
    named = invoke("estimate", "Mistral-7B-Instruct-v0.3", "--gpu", "L40S", "--json")

    assert json.loads(own.stdout)["weights_gib"] == json.loads(named.stdout)["weights_gib"]


def test_what_starts_a_server_is_told_by_its_text() -> None:
    usual = {".yaml": "stdin.yaml", ".yml": "stdin.yaml", ".json": "stdin.yaml", ".sh": "stdin.sh", "": "Dockerfile"}
    usual |= {suffix: f"stdin{suffix}" for suffix in (".service", ".container")}
    found = {
        path: (usual_name(path.read_text(encoding="utf-8")), usual[path.suffix])
        for path in (CASES / "check").glob("*/*")
        if path.name != "expected.json" and path.suffix in usual
    }

    assert len(found) > 15
    assert {path: name for path, (name, wanted) in found.items() if name != wanted} == {}


def test_check_reads_it_like_a_file(folder: Path) -> None:
    text = "services:\n  chat:\n    image: vllm/vllm-openai:v0.33.0\n    command: [--model, Qwen/Qwen3-8B]\n"
    (folder / "compose.yaml").write_text(text)
    own = json.loads(invoke("check", "-", "--gpu", "L40S", "--json", given=text).stdout)["servers"]
    file = json.loads(invoke("check", "compose.yaml", "--gpu", "L40S", "--json").stdout)["servers"]

    assert own == [{**server, "file": "<stdin>"} for server in file]
    assert len(own) == 1
    script = invoke("check", "-", "--gpu", "L40S", given="#!/bin/sh\nvllm serve Qwen/Qwen3-8B\n")
    assert "stdin (Qwen/Qwen3-8B" in script.stdout


def test_init_reads_what_kubectl_writes(folder: Path) -> None:
    data = [json.loads((ROOT / f"tests/data/cluster/{name}.json").read_text()) for name in ("nodes", "pods")]
    both = json.dumps({"apiVersion": "v1", "kind": "List", "items": [item for one in data for item in one["items"]]})
    (folder / "both.json").write_text(both)
    piped = invoke("init", "-", "--from-kubectl", "-", given=both)
    file = invoke("init", "-", "--from-kubectl", "both.json")

    assert piped.exit_code == 0, piped.output
    assert piped.stdout == file.stdout.replace("both.json", "<stdin>")
    assert invoke("init", "--from-kubectl", "both.json", "-").stdout == file.stdout
