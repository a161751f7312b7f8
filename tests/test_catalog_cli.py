"""``planner catalog list``, ``search``, ``show`` and ``check``."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from documents import valid

from planner.cli import main


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["catalog", *arguments])


def listed(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    data: dict[str, Any] = json.loads(result.stdout)
    return data


def test_the_list_is_one_object_with_models_their_variants_and_gpus() -> None:
    data = listed("list")

    assert set(data) == {"schema", "models", "gpus"}
    assert len(data["models"]) >= 120
    assert sum(len(model["variants"]) for model in data["models"]) >= 300
    assert sum(not gpu["mig_parent"] for gpu in data["gpus"]) >= 70
    coder = next(model for model in data["models"] if model["name"] == "Qwen2.5-Coder-32B-Instruct")
    assert coder["context_tokens"] == 32_768
    assert coder["sources"]
    awq = next(variant for variant in coder["variants"] if variant["repository"].endswith("-AWQ"))
    assert (awq["scheme"], awq["bits"], awq["group_size"]) == ("awq-int4", 4, 128)
    assert 19e9 < awq["weights_bytes"] < 20e9


def test_filters_narrow_the_list() -> None:
    models = listed("list", "--task", "code", "--max-size", "10", "--licence", "apache-2.0", "--scheme", "awq-int4")[
        "models"
    ]

    assert models
    for model in models:
        assert "code" in model["tasks"]
        assert model["parameters"] <= 10e9
        assert model["licence"] == "apache-2.0"
        assert {variant["scheme"] for variant in model["variants"]} == {"awq-int4"}


def test_fits_on_leaves_a_tenth_of_the_gpu() -> None:
    card = next(gpu for gpu in listed("search", "RTX 4090")["gpus"] if gpu["name"] == "RTX 4090")
    models = listed("list", "--fits-on", "RTX 4090")["models"]

    assert models
    assert all(
        variant["weights_bytes"] <= 0.9 * card["memory_bytes"] for model in models for variant in model["variants"]
    )
    assert "Qwen2.5-72B-Instruct" not in {model["name"] for model in models}


def test_commercial_leaves_out_licences_that_forbid_it() -> None:
    assert "Codestral-22B-v0.1" in run("search", "codestral").output
    assert "Codestral-22B-v0.1" not in run("search", "codestral", "--commercial").output


def test_search_finds_models_by_their_checkpoints_and_gpus_by_their_names() -> None:
    result = run("search", "TheBloke/deepseek-coder-33B")
    assert "deepseek-coder-33b-instruct" in result.output
    assert "TheBloke/deepseek-coder-33B-instruct-AWQ" in result.output
    assert "deepseek-ai/deepseek-coder-33b-instruct" not in result.output
    assert "H100 80GB SXM5" in run("search", "h100").output
    assert "nothing in the catalog" in run("search", "no-such-thing").output


@pytest.mark.parametrize(
    ("typed", "first", "absent"),
    [
        ("qwen3 coder", "Qwen3-Coder-", "Qwen3-8B"),
        ("coder qwen3 30b", "Qwen3-Coder-30B-A3B-Instruct", "Qwen3-Coder-Next"),
        ("Qwen3Coder30B", "Qwen3-Coder-30B-A3B-Instruct", "Qwen3-Coder-Next"),
        ("qwn3 codr", "Qwen3-Coder-", "Qwen3-8B"),
        ("embedding bge", "bge-", "Qwen3-Embedding"),
        ("vision 7b", "Qwen2.5-VL-7B-Instruct", "gemma-3-27b-it"),
        ("llama 70b awq", "Llama", "Qwen"),
    ],
)
def test_search_takes_words_tasks_sizes_and_slips(typed: str, first: str, absent: str) -> None:
    names = [model["name"] for model in listed("search", *typed.split())["models"]]

    assert any(name.startswith(first) for name in names)
    assert not any(name.startswith(absent) for name in names)
    assert names == [model["name"] for model in listed("search", typed)["models"]]


def test_a_slip_that_many_are_called_lists_the_nearest_and_how_to_see_all() -> None:
    result = run("search", "mistrl")
    rows = [line for line in result.stdout.splitlines() if line[:1].isalnum() and not line.startswith("MODEL")]

    assert 0 < len(rows) <= 6
    assert rows[0].startswith("Mistral-")
    assert "`planner catalog search mistral` lists " in result.stderr
    assert len(listed("search", "mistral")["models"]) == len(rows) + int(result.stderr.split(" lists ")[1].split()[0])


def test_search_leaves_a_model_the_checkpoints_that_have_the_words() -> None:
    for model in listed("search", "qwen3 awq")["models"]:
        assert all("awq" in f"{one['repository']} {one['scheme']}".lower() for one in model["variants"])
    assert [gpu["name"] for gpu in listed("search", "h100 sxm5 MIG 3g")["gpus"]]
    assert "nothing is called 'qwn3'; this is for 'qwen3'" in run("search", "qwn3").stderr


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize(
    "asked", [("list", "--min-size", "200"), ("list", "--gpus"), ("search", "qwen3 coder")], ids=" ".join
)
def test_lists_fit_the_terminal(asked: tuple[str, ...], columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = run(*asked).stdout
    monkeypatch.setenv("COLUMNS", str(columns))
    narrow = run(*asked).stdout

    longest = max(narrow.split(), key=len)
    assert max(map(len, narrow.splitlines())) <= max(columns, len(longest) + 6)
    assert set(wide.split()) - set(narrow.replace(",", " ").split()) <= {
        *(word for word in wide.split() if "," in word), *wide.splitlines()[0].split(),
    }  # fmt: skip


def test_lists_explain_the_marks_that_they_have() -> None:
    models, bare = run("list").stdout, run("search", "Qwen3-Embedding-8B").stdout

    for mark, meaning in (("(nc)", "\nnc: "), ("(gated)", "\ngated: "), ("GiB*", "\n* rests on something")):
        assert mark in models and meaning in models
        assert (mark in bare) == (meaning in bare)
    assert "\n* assumed: " in run("list", "--gpus").stdout


def test_show_prints_a_model_or_a_gpu_with_its_sources() -> None:
    model = run("show", "Qwen/Qwen2.5-7B-Instruct").output
    assert "GSM8K fell from 90.5 to 2.0" in model
    assert "source       github.com/" in model
    gpu = run("show", "NVIDIA RTX PRO 6000 Blackwell Workstation Edition").output
    assert "94.97 GiB as an engine sees it" in gpu
    assert json.loads(run("show", "H200", "--json").stdout)["compute_capability"] == "9.0"


def test_show_says_which_prices_are_old(tmp_path: Path) -> None:
    (tmp_path / "prices").mkdir()
    (tmp_path / "prices" / "ours.yaml").write_text(
        "providers: {us: {}}\nsources: {s: here}\ninstances:\n"
        '  - {provider: us, instance: old, gpu: L4, gpus: 1, usd_per_hour: 1, date: "2030-01-31", source: s}\n'
        '  - {provider: us, instance: new, gpu: L4, gpus: 1, usd_per_hour: 1, date: "2030-07-01", source: s}\n'
    )
    page = run("show", "L4", "--catalog", str(tmp_path)).output

    assert "us old, 1 GPU: 1 USD/h on demand, 2030-01-31, which is old\n" in page
    assert "us new, 1 GPU: 1 USD/h on demand, 2030-07-01\n" in page


def test_show_names_what_is_nearest_when_nothing_has_the_name() -> None:
    result = run("show", "Qwen3-9B")

    assert result.exit_code == 1
    assert "Qwen3-8B" in result.output


def test_check_passes_on_the_shipped_catalog_and_fails_on_a_broken_entry(tmp_path: Path) -> None:
    assert run("check").exit_code == 0
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.yaml").write_text("family: mine\nmodels:\n  - repository: a/b\n")
    broken = run("check", str(tmp_path), "--json")

    assert broken.exit_code == 1
    assert "mine.yaml:3:" in broken.stderr
    assert "required key is missing" in broken.stderr
    problems = valid("catalog-check", broken.stdout)["problems"]
    assert {(Path(one["file"]).name, one["line"]) for one in problems} == {("mine.yaml", 3)}


def test_ones_own_entry_is_listed_and_replaces_a_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.yaml").write_text(
        "family: mine\n"
        "models:\n"
        "  - repository: Qwen/Qwen3-8B\n"
        "    licence: mine\n"
        "    tasks: [code]\n"
        "    parameters: 1\n"
        "    parameters_grade: rounded\n"
        "    source: [me]\n"
        "    config: {architectures: [Qwen3ForCausalLM], torch_dtype: bfloat16}\n"
    )
    monkeypatch.setenv("PLANNER_CATALOG", str(tmp_path))
    shown = json.loads(run("show", "Qwen3-8B", "--json").stdout)

    assert (shown["licence"], shown["parameters"]) == ("mine", 1)
    assert "missing" in shown["variants"][0]["refusal"]


def test_a_broken_entry_of_ones_own_stops_every_command_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.yaml").write_text("family: mine\nmodels: [\n")
    result = CliRunner().invoke(main, ["catalog", "list", "--catalog", str(tmp_path)])

    assert result.exit_code == 1
    assert "mine.yaml:" in result.output
    assert "Traceback" not in result.output
