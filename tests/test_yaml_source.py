"""YAML text -> data and places: agrees with JSON, never fails in an unexpected way, refuses what is ambiguous."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.catalog import load_catalog
from planner.errors import InputError
from planner.fleet import Fleet, load_fleet
from planner.yaml_source import MAX_DEPTH, dotted, parse_yaml

CASES = Path(__file__).parent / "cases"
CATALOG = load_catalog(CASES / "catalog")

printable = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | printable
plain_data = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(printable, inner, max_size=3)
)


@given(plain_data)
def test_json_is_read_as_json(data: object) -> None:
    assert parse_yaml(json.dumps(data), "f").data == data


@given(st.dictionaries(printable, st.lists(st.integers() | printable, max_size=3), max_size=4))
def test_every_value_is_where_it_is_said_to_be(data: dict[str, list[int | str]]) -> None:
    text = json.dumps(data, indent=1)
    source = parse_yaml(text, "f")
    lines = text.splitlines()

    for key, items in data.items():
        line, column = source.place((key,), at_key=True)
        assert lines[line - 1][column - 1 :].startswith(json.dumps(key))
        for index, item in enumerate(items):
            line, column = source.place((key, index))
            assert lines[line - 1][column - 1 :].startswith(json.dumps(item))


@given(st.text(max_size=60) | st.text(" \t\n:-[]{}#&*!|>'\"%@`?,<=ab01.", max_size=40))
@settings(max_examples=400)
def test_any_text_is_data_or_a_problem_with_a_place(text: str) -> None:
    try:
        parse_yaml(text, "f")
    except InputError as error:
        assert all(problem.line >= 1 and problem.column >= 1 for problem in error.problems)
        assert str(error).replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"), ("on", "on"), ("No", "No"), ("y", "y"), ("1:30", "1:30"), ("2026-11-25", "2026-11-25"),
        ("0.33.0", "0.33.0"), ("true", True), ("False", False), ("~", None), ("null", None), ("", None), ("-0", 0),
        ("+5", 5), ("1e3", 1000.0), (".5", 0.5), ("1.", 1.0), (".inf", float("inf")), ("'010'", "010"), ("=", "="),
    ],
)  # fmt: skip
def test_plain_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    read = parse_yaml(f"key: {text}", "f").data["key"]

    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize("text", ["010", "0o10", "0x1F", "0b11", "1_000", "-07"])
def test_numbers_that_programs_read_differently_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=f"f:1:6: key: {text} is read differently"):
        parse_yaml(f"key: {text}", "f")


def test_depth_is_limited_and_flat_files_are_not() -> None:
    parse_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH, "f")
    with pytest.raises(InputError, match="nested more than"):
        parse_yaml("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), "f")


def test_all_problems_of_one_file_are_reported() -> None:
    with pytest.raises(InputError) as caught:
        parse_yaml("a: 1\na: 2\n3: 4\nb: *c\n<<: {}\nd: 01\n", "f")

    assert [problem.line for problem in caught.value.problems] == [2, 3, 4, 5, 6]


def test_a_path_is_printed_so_that_it_can_be_read_back() -> None:
    assert dotted(("roles", "a.b", "models", 0)) == "roles.'a.b'.models[0]"
    assert dotted((0, "x")) == "[0].x"


FLEET = yaml.safe_load((CASES / "fleets" / "complete.yaml").read_text(encoding="utf-8"))


def paths(data: object, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here] if here else []
    entries: list[tuple[Any, Any]] = []
    if isinstance(data, dict):
        entries = list(data.items())
    elif isinstance(data, list):
        entries = list(enumerate(data))
    for key, value in entries:
        found += paths(value, (*here, key))
    return found


@given(path=st.sampled_from(paths(FLEET)), value=plain_data | st.floats(), remove=st.booleans())
@settings(max_examples=300)
def test_a_damaged_fleet_is_a_fleet_or_problems_with_places(
    path: tuple[Any, ...], value: object, remove: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = copy.deepcopy(FLEET)
    parent = data
    for part in path[:-1]:
        parent = parent[part]
    if remove:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    file = tmp_path_factory.getbasetemp() / "fleet.yaml"
    file.write_text(json.dumps(data).replace("NaN", ".nan").replace("Infinity", ".inf"), encoding="utf-8")
    try:
        assert isinstance(load_fleet(file, CATALOG), Fleet)
    except InputError as error:
        assert all(problem.line == 1 for problem in error.problems)
        assert str(error).replace("\n", "").isprintable()
        assert "Input should" not in str(error)
