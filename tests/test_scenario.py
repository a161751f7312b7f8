"""Scenarios: edits on the command line make the fleet that the same edits in the file would make."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from fleets import PAIR, catalog, changed, fleet

from planner.errors import InputError
from planner.fleet import Edit, Fleet, FleetFile, Scenario, fleets, hourly_price, read_fleet, scenarios

LAB: dict[str, Any] = {
    "name": "lab",
    "nodes": {"v2.big": {"gpu": "H100 80GB SXM5", "gpus": 8}, "small": "L40S"},
    "roles": {
        "qwen2.5": {"task": "code", "models": ["deepseek-coder-33b-instruct"], "context": "8k", "pool": "v2.big"}
    },
}


def written(document: dict[str, Any], folder: Path) -> FleetFile:
    path = folder / "fleet.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return read_fleet(path)


def edited(document: dict[str, Any], folder: Path, *edits: Edit) -> Fleet:
    (found,) = fleets(written(document, folder), [Scenario(edits)], catalog())
    return found


def refused(document: dict[str, Any], folder: Path, *edits: Edit) -> str:
    with pytest.raises(InputError) as error:
        edited(document, folder, *edits)
    return str(error.value).replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("roles.coder.context.min", "16k"),
        ("roles.coder.context.wish", "32k"),
        ("roles.coder.weight", 3),
        ("roles.general.accuracy.recovery", 97),
        ("roles.general.models", ["qwen2.5-14b-instruct"]),
        ("objective", ["accuracy", "concurrency"]),
        ("gpu.count", 2),
        ("gpu.memory_in_use", "2GiB"),
        ("name", "other"),
    ],
)
def test_setting_a_field_is_writing_it(path: str, value: Any, tmp_path: Path) -> None:  # noqa: ANN401 - any YAML
    text = yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()

    assert edited(PAIR, tmp_path, Edit("--set", f"{path}={text}")) == fleet(changed(PAIR, path, value))


def test_an_empty_value_takes_a_field_or_a_role_out(tmp_path: Path) -> None:
    assert edited(PAIR, tmp_path, Edit("--set", "roles.coder.request=")).role("coder").prompt_tokens is None
    assert [role.name for role in edited(PAIR, tmp_path, Edit("--set", "roles.coder=")).roles] == ["general"]


def test_a_field_below_a_single_value_turns_it_into_a_map(tmp_path: Path) -> None:
    small = changed(PAIR, "gpu", "L40S")
    found = edited(small, tmp_path, Edit("--set", "gpu.count=2"), Edit("--set", "engine.version=0.32.0"))

    assert (found.gpu.name, found.gpu_count, found.engine_version) == ("L40S", 2, "0.32.0")
    role = edited(changed(PAIR, "roles.coder.context", "8k"), tmp_path, Edit("--set", "roles.coder.context.wish=16k"))
    assert (role.role("coder").context_min, role.role("coder").context_wish) == (8192, 16384)


def test_names_with_dots_are_found(tmp_path: Path) -> None:
    found = edited(
        LAB, tmp_path, Edit("--set", "roles.qwen2.5.context.min=4k"), Edit("--set", "nodes.v2.big.count=2"),
        Edit("--set", "nodes.small.gpus=4"),
    )  # fmt: skip

    assert found.role("qwen2.5").context_min == 4096
    assert (found.pool("v2.big").nodes, found.pool("small").gpus_per_node, found.pool("small").gpu.name) == (
        2,
        4,
        "L40S",
    )


def test_gpus_take_the_place_of_all_there_were(tmp_path: Path) -> None:
    found = edited(changed(PAIR, "gpu.memory_in_use", "2GiB"), tmp_path, Edit("--gpu", "rtx-4090:2"))

    assert (found.gpu.name, found.gpu_count, found.memory_in_use_bytes) == ("RTX 4090", 2, 0)
    alone = edited(changed(LAB, "roles.qwen2.5", None) | {"roles": PAIR["roles"]}, tmp_path, Edit("--gpu", "l40s"))
    assert [(pool.name, pool.gpu.name, pool.gpu_count) for pool in alone.pools] == [("gpu", "L40S", 1)]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Edit("--gpu", "rtx-409"), "--gpu rtx-409: gpu.name: unknown GPU 'rtx-409'"),
        (Edit("--gpu", "rtx-4090:0"), "--gpu rtx-4090:0: gpu.count: expected a whole number of GPUs from 1"),
        (
            Edit("--set", "roles.coder.weight=many"),
            "--set roles.coder.weight=many: roles.coder.weight: expected a whole",
        ),
        (Edit("--set", "roles.codr.weight=2"), "--set roles.codr.weight=2: roles.codr.weight: unknown role 'codr'"),
        (Edit("--set", "roles.coder.wieght=2"), "--set roles.coder.wieght=2: roles.coder.wieght: unknown key"),
        (Edit("--set", "roles.coder.context.min=64k"), "--set roles.coder.context.min=64k: fleet.yaml:"),
        (Edit("--set", "roles.coder.weight"), "--set roles.coder.weight: expected a field and a value"),
        (Edit("--set", "roles.coder.weight=[1"), "--set roles.coder.weight=[1:1:"),
        (Edit("--set", "roles.coder.task="), "roles.coder.task: required key is missing"),
    ],
)
def test_a_wrong_edit_is_named(edit: Edit, message: str, tmp_path: Path) -> None:
    assert message in refused(PAIR, tmp_path, edit)


def test_a_problem_of_the_file_is_told_once_and_without_the_edit(tmp_path: Path) -> None:
    text = refused(changed(PAIR, "roles.coder.weight", 0), tmp_path, Edit("--gpu", "l40s"))

    assert text.startswith("fleet.yaml:")
    assert text.count("roles.coder.weight") == 1


def test_a_problem_of_many_combinations_is_told_once(tmp_path: Path) -> None:
    edits = [Edit("--gpu", "l40s"), Edit("--gpu", "h200"), Edit("--set", "roles.coder.context.min=64k")]
    with pytest.raises(InputError) as error:
        fleets(written(PAIR, tmp_path), scenarios(edits, matrix=True), catalog())

    assert len({problem.path for problem in error.value.problems}) == len(error.value.problems)


def test_each_edit_is_a_scenario_and_a_matrix_has_them_all() -> None:
    edits = [Edit("--gpu", "a"), Edit("--gpu", "b"), Edit("--set", "x=1"), Edit("--set", "y=2"), Edit("--gpu", "a")]

    assert [one.name for one in scenarios(edits, matrix=False)] == ["as written", "a", "b", "x=1", "y=2"]
    assert [one.name for one in scenarios(edits, matrix=True)] == [
        "as written", "y=2", "x=1", "x=1, y=2", "a", "a, y=2", "a, x=1", "a, x=1, y=2", "b", "b, y=2", "b, x=1",
        "b, x=1, y=2",
    ]  # fmt: skip


def test_the_price_is_the_files_or_the_cheapest_offer(tmp_path: Path) -> None:
    own = edited(LAB, tmp_path, Edit("--set", "nodes.v2.big.price_per_hour=2.5"), Edit("--set", "nodes.small="))
    listed = edited(PAIR, tmp_path, Edit("--gpu", "l40s:2"))
    two = [p for p in catalog().prices if (p.gpu, p.gpu_count, p.market) == ("L40S", 2, "on-demand")]
    dated = [p.microdollars_per_hour for p in two if p.date] or [p.microdollars_per_hour for p in two]
    price = hourly_price(listed)

    assert price is not None
    assert price.microdollars_per_hour == min(dated)
    own_price = hourly_price(own)
    assert own_price is not None
    assert (own_price.microdollars_per_hour, own_price.sources) == (20_000_000, ("nodes.v2.big.price_per_hour",))
    assert hourly_price(edited(PAIR, tmp_path, Edit("--gpu", "rtx-2080-ti"))) is None
