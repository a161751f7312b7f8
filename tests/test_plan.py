"""plan.yaml: the same plan is the same bytes, and a file that is no such plan is refused with its place."""

import platform
from pathlib import Path

import parsed
import plans
import pytest
from solving import pair

from planner.errors import InputError
from planner.facts.accuracy import Accuracy
from planner.plan import (
    SCHEMA,
    Binding,
    Cost,
    GPUGroup,
    GPULedger,
    Ledger,
    Lock,
    Plan,
    Proof,
    ServerPlan,
    SharedRole,
    Stage,
    plan_from_yaml,
    plan_json,
    plan_to_yaml,
)


def read(folder: Path, text: str) -> Plan:
    path = folder / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return plan_from_yaml(path)


def test_a_plan_comes_back_as_it_was(tmp_path: Path) -> None:
    text = plan_to_yaml(pair())

    assert read(tmp_path, text) == pair()
    assert plan_to_yaml(read(tmp_path, text)) == text


def test_keys_of_pipeline_stages_are_there_where_stages_are(tmp_path: Path) -> None:
    text = plan_to_yaml(plans.two_nodes())

    assert read(tmp_path, text) == plans.two_nodes()
    assert [line.strip() for line in text.splitlines() if "pipeline_parallel_size" in line] == [
        "pipeline_parallel_size: 2"
    ]
    assert read(tmp_path, text.replace("    port: 8002", "    pipeline_parallel_size: 1\n    port: 8002")) == (
        plans.two_nodes()
    )


def test_json_holds_what_yaml_holds() -> None:
    assert parsed.one(plan_json(pair())) == parsed.one(plan_to_yaml(pair()))


def test_a_plan_names_no_machine() -> None:
    text = plan_to_yaml(pair())

    for private in (str(Path.home()), platform.node(), str(Path.cwd())):
        assert private not in text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (f"schema: {SCHEMA}", f"schema: {SCHEMA + 1}", f"its schema is {SCHEMA + 1}, and this version reads {SCHEMA}"),
        (f"schema: {SCHEMA}", "schema: 0", "plan schema 0 cannot be read by this version"),
        (f"schema: {SCHEMA}\n", "", "this is not a plan"),
        ("fleet: pair", "fleet: pair\ncolour: green", "colour: unknown key"),
        ("    port: 8001", "    port: high", "servers[0].port: expected a whole number"),
        ("    port: 8001", "    port: 8001\n    colour: green", "servers[0].colour: unknown key"),
        ("engine: vllm\n", "", "engine: required key is missing"),
    ],
)
def test_what_is_no_plan_is_refused_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = plan_to_yaml(pair())
    assert old in text

    with pytest.raises(InputError) as error:
        read(tmp_path, text.replace(old, new, 1))

    assert message in str(error.value)
    assert str(error.value).startswith(f"{tmp_path / 'plan.yaml'}:")


def test_the_reference_names_every_key_of_the_file() -> None:
    page = (Path(__file__).parent.parent / "docs" / "plan.md").read_text(encoding="utf-8")
    facts = (Plan, ServerPlan, SharedRole, GPUGroup, GPULedger, Ledger, Proof, Lock, Stage, Binding, Cost, Accuracy)
    keys = {key for fact in facts for key in fact.__struct_fields__}

    assert {key for key in keys if f"`{key}`" not in page} == set()
    assert f"now {SCHEMA}." in page
