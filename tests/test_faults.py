"""Known faults of engine versions: which servers meet them, what a plan does about them, and the page of them all."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fleets import catalog, changed, fleet
from msgspec.structs import replace
from packaging.specifiers import SpecifierSet
from solving import planned

from planner.catalog.check import check_folders
from planner.catalog.stored import stored
from planner.cli import main
from planner.engine.faults import Case, Fault, GPUs, Models, Settings, all_faults, known_faults, within
from planner.engine.flags import default_flags
from planner.engine.profile import known_versions, load_profile
from planner.memory.refusals import faults_in_reach
from planner.plan import NoPlan, Plan
from planner.resources import data_folder
from planner.solve import solve

PAGE = Path(__file__).resolve().parent.parent / "docs" / "known-faults.md"
HYBRID: dict[str, Any] = {
    "name": "hybrid",
    "engine": {"name": "vllm", "version": "0.28.0"},
    "gpu": "rtx-pro-6000-blackwell",
    "roles": {
        "chat": {
            "task": "general",
            "models": ["Qwen3.6-27B"],
            "context": "32k",
            "concurrency": {"min": 1, "target": 64},
        }
    },
}
"""A model with recurrent layers on a GPU where its FP8 and NVFP4 checkpoints die under load with this version."""


def faults(name: str, gpu: str, version: str, asked: tuple[str, ...] = (), **flags: Any) -> set[str]:  # noqa: ANN401 - fields
    """Return the names of the faults of a checkpoint."""
    architecture, quantization = stored(*catalog().find(name))
    device = catalog().gpu(gpu)
    given = default_flags(load_profile(version), device, architecture, **flags)
    case = Case(
        version=version, gpu=device, architecture=architecture, quantization=quantization, flags=given, asked=asked
    )
    return {fault.id for fault in known_faults(case)}


def serious(found: Plan) -> set[str]:
    return {fault.id for server in found.servers for fault in server.known_faults if fault.serious}


A100, QWEN = "A100 80GB SXM4", "Qwen/Qwen3-8B-FP8"
EXPERTS = "nvidia/Qwen3-30B-A3B-NVFP4"
NEXT, OSS = "Qwen/Qwen3-Next-80B-A3B-Instruct", "openai/gpt-oss-120b"


@pytest.mark.parametrize(
    ("fault", "name", "gpu", "version", "neighbours"),
    [
        ("deepgemm-fp8-sm120-warmup", QWEN, "RTX 5090", "0.24.0", [("RTX 4090", "0.24.0"), ("RTX 5090", "0.25.1")]),
        ("nvfp4-moe-sm120-no-kernel", EXPERTS, "RTX 5090", "0.11.2", [("RTX 5090", "0.12.0"), ("B200", "0.11.2")]),
        ("block-fp8-ada-slow", QWEN, "L4", "0.33.0", [("H100", "0.33.0"), ("L4", "0.28.0")]),
        ("gpt-oss-mxfp4-long-context-ima", OSS, "B200", "0.20.1", [("B200", "0.20.2"), ("H100", "0.20.1")]),
        ("gdn-autotune-oom-first-request", NEXT, A100, "0.17.1", [("H100", "0.17.1"), (A100, "0.18.1")]),
    ],
)
def test_a_fault_holds_for_its_versions_and_gpus_alone(
    fault: str, name: str, gpu: str, version: str, neighbours: list[tuple[str, str]]
) -> None:
    assert fault in faults(name, gpu, version)
    assert [place for place in neighbours if fault in faults(name, *place)] == []


def test_a_fault_may_need_a_setting() -> None:
    where = ("google/gemma-3-27b-it", "RTX 3090", "0.26.0")

    assert "int8-per-token-kv-corrupts-full-pool" in faults(*where, kv_cache_dtype="int8_per_token_head")
    assert "int8-per-token-kv-corrupts-full-pool" not in faults(*where)
    assert "int8-per-token-kv-corrupts-full-pool" not in faults(
        *where, kv_cache_dtype="int8_per_token_head", prefix_caching=False
    )


def test_a_plan_avoids_a_serious_fault_where_it_can() -> None:
    """The unquantized checkpoint takes twice the memory and is chosen all the same."""
    found = planned(HYBRID)

    assert found.servers[0].repository == "Qwen/Qwen3.6-27B"
    assert serious(found) == set()


def test_a_plan_that_cannot_avoid_a_fault_names_it() -> None:
    pinned = changed(HYBRID, "roles.chat.variant", "Qwen/Qwen3.6-27B-FP8")

    assert serious(planned(pinned)) == {"hybrid-quantized-sm120-dies-under-load"}


@pytest.fixture(autouse=True)
def remembered() -> Iterator[None]:
    """Forget faults that a test made up, which are kept for all servers of a model."""
    yield
    faults_in_reach.cache_clear()


@pytest.fixture
def newest(monkeypatch: pytest.MonkeyPatch) -> str:
    """The newest release, as if it had all serious faults and no other one had any."""
    newest = load_profile().version
    late = [replace(fault, versions=f"=={newest}") for fault in all_faults() if fault.serious]
    monkeypatch.setattr("planner.engine.faults._at", lambda version, _: tuple(late) if version == newest else ())
    return newest


@pytest.mark.usefixtures("newest")
def test_a_fleet_without_a_version_gets_the_newest_without_a_fault() -> None:
    """What the plan would choose is sound on the version before."""
    older, open_ = planned(changed(HYBRID, "engine.version", "0.32.0")), planned(changed(HYBRID, "engine", None))

    assert open_.engine_version == "0.32.0"
    assert open_.servers == older.servers
    assert open_.servers[0].scheme != "bf16"


def test_a_version_before_the_ranks_that_a_fleet_asks_for_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    newest, found = load_profile().version, next(fault for fault in all_faults() if fault.serious)
    everywhere = replace(found, gpu=GPUs(), model=Models(), settings=Settings())
    monkeypatch.setattr("planner.engine.faults._at", lambda version, _: (everywhere,) if version == newest else ())
    monkeypatch.setattr("planner.solve.engine_version.known_versions", lambda: ("0.10.2",))
    role = {"task": "chat", "models": ["Qwen2.5-7B-Instruct"], "context": "8k", "data_parallel": 2}
    document = {"name": "two", "gpu": {"name": "L40S", "count": 2}, "roles": {"chat": role}}

    assert planned(changed(document, "roles.chat.data_parallel", None)).engine_version == "0.10.2"
    assert planned(document).engine_version == newest


def test_copies_between_gpus_that_a_role_turns_off_do_not_hang() -> None:
    off = ("NCCL_P2P_DISABLE=1", "--disable-custom-all-reduce")
    hangs = {"tp2-p2p-hang-pcie"}

    assert faults(QWEN, "RTX 4090", "0.33.0", tensor_parallel_size=2) >= hangs
    assert faults(QWEN, "RTX 4090", "0.33.0", off[:1], tensor_parallel_size=2) >= hangs
    assert not faults(QWEN, "RTX 4090", "0.33.0", off, tensor_parallel_size=2) & hangs


def test_a_pin_that_only_the_newest_version_knows_keeps_a_fleet_on_it(newest: str) -> None:
    pinned = changed(HYBRID, "roles.chat.extra_args", ["--no-monokernel"])

    assert planned(changed(pinned, "engine", None)).engine_version == newest


def test_a_fleet_without_a_version_gets_the_newest_where_nothing_is_known() -> None:
    assert planned(changed(HYBRID, "engine", None)).engine_version == load_profile().version


def test_an_error_at_the_start_that_the_source_confirms_is_a_refusal() -> None:
    small = {"chat": {"task": "general", "variant": QWEN, "context": "8k"}}
    refused = solve(fleet({**HYBRID, "engine": {"version": "0.24.0"}, "roles": small}), catalog())
    result = CliRunner().invoke(main, ["estimate", QWEN, "--gpu", "RTX 5090", "--engine-version", "0.24.0"])

    assert isinstance(refused, NoPlan)
    assert any("deepgemm-fp8-sm120-warmup" in rejection.detail for rejection in refused.rejections)
    assert "does not start: known fault of vllm 0.24.0: deepgemm-fp8-sm120-warmup" in result.output
    assert "  known fault: deepgemm-fp8-sm120-warmup: start-up error" in result.output


def test_versions_are_compared_as_pep_440_has_it() -> None:
    ranges = {fault.versions for fault in all_faults()} | {"~=0.19.1", "!=0.20.1,>0.18.0", "==0.20.*", "<0.20.0rc2"}
    versions = (*known_versions(), "0.19.2rc1", "0.20.0rc1", "0.29.1rc3.dev4", "0.20.1.post1", "1.0.0")

    for stated in ranges:
        wanted = SpecifierSet(stated)
        assert [within(one, stated) for one in versions] == [wanted.contains(one, prereleases=True) for one in versions]


def test_the_check_of_a_catalog_finds_what_is_wrong_with_a_fault(tmp_path: Path) -> None:
    (tmp_path / "engines").mkdir()
    path = tmp_path / "engines" / "known-faults.yaml"
    text = (data_folder("catalog") / "engines" / "known-faults.yaml").read_text(encoding="utf-8")

    def problems(old: str, new: str) -> list[str]:
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return [f"{problem.path}: {problem.message}" for problem in check_folders([tmp_path]).problems]

    assert problems("", "") == []
    assert problems("mixture: true", "moe: true") == ["faults[0].model.moe: unknown key"]
    assert problems("grade: reported", "grade: rumoured") == ["faults[0].grade: expected 'confirmed' or 'reported'"]
    assert problems("id: mla-no-backend", "id: nvfp4-kv-cache") == [
        "faults[4].id: nvfp4-kv-cache-sm120 is listed before"
    ]
    assert "Invalid specifier" in problems('">=0.15.0,<0.16.0"', "since 0.15")[0]


def test_the_page_lists_every_fault(update_golden: bool) -> None:
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition("--update-golden -->\n")
    made_anew = f"{head}--update-golden -->\n{table()}<!-- end -->{rest.partition('<!-- end -->')[2]}"
    if update_golden:
        PAGE.write_text(made_anew, encoding="utf-8")
        return

    assert made_anew == text


def table() -> str:
    head = ["| fault | versions | effect | what helps | grade and source |", "|---|---|---|---|---|"]
    return "\n".join([*head, *(row(fault) for fault in all_faults()), ""])


def row(fault: Fault) -> str:
    condition = f" {fault.condition}" if fault.condition else ""
    checked = f"; {fault.checked}" if fault.checked else ""
    grade = f"{fault.grade}, {fault.confidence} confidence; {fault.source}{checked}"
    what = f"{fault.effect}{condition}: {fault.symptom}"
    return f"| `{fault.id}` | `{fault.versions}` | {what} | {fault.workaround} | {grade} |"
