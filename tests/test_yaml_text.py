"""What the planner writes as YAML is the same data to its own reader, to YAML 1.1 and to YAML 1.2."""

import json
import re
from pathlib import Path
from typing import Any

import plans
import pytest
import yaml
from click.testing import CliRunner
from fleets import catalog
from hypothesis import given
from hypothesis import strategies as st

from planner.artifacts import EXTRA_TARGETS, render
from planner.artifacts.quoting import yaml_word
from planner.artifacts.targets import DEFAULT_TARGETS
from planner.cli import main
from planner.fleet import load_fleet
from planner.plan import plan_from_yaml, plan_to_yaml
from planner.yaml_source import parse_yaml
from planner.yaml_text import is_text, yaml_text

NAMES = [
    "08", "09", "1e3", "0e0", "0o7", "0x1f", "0b1", "1_000", "1.5", "007", "12", "1.", "1e-3", "null", "Null", "true",
    "TRUE", "false", "yes", "no", "on", "Off", "y", "N", "2026-11-25", "1234567890123456789012345678901234567890",
    "1e23456789",
]  # fmt: skip
"""Names that a fleet may give to a role, and that some reader of YAML takes for something else than text."""
WORDS = [
    *NAMES, "~", "", "1:30", "190:20:30.15", ".inf", "-.INF", ".nan", ".5", "+1", "-08", "<<", "=",
    "2001-12-14t21:59:43Z", "0.33.0", "a: b", "- a", "#", "a #b", "on ", " 1", "?", "&a", "*a", "!a", "|", ">", "%",
    "@", "`", "{}", "[]", "'", '"', "\u0085", "\ufeff", "\u2028", "\x7f", "\t", "a\nb", "😀",
]  # fmt: skip


def integer(text: str) -> int:
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


class Core(yaml.SafeLoader):
    """A reader of YAML 1.2: the core schema (YAML 1.2.2, section 10.3.2) on PyYAML's parser, and merge keys.

    Compose reads merge keys, whatever the version.
    """

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - as PyYAML has it


for tag, pattern in (
    ("merge", "<<"),
    ("null", r"|null|Null|NULL|~"),
    ("bool", r"true|True|TRUE|false|False|FALSE"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN"),
):
    Core.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), None)
Core.add_constructor("tag:yaml.org,2002:int", lambda _, node: integer(str(node.value)))
Core.add_constructor("tag:yaml.org,2002:float", lambda _, node: float(str(node.value)))


def readings(text: str) -> list[Any]:
    """What YAML 1.1 and YAML 1.2 make of a file, document by document."""
    return [list(yaml.load_all(text, Loader=loader)) for loader in (yaml.SafeLoader, Core)]


def keys(data: object) -> list[object]:
    """Return every key of every mapping."""
    if isinstance(data, dict):
        return [*data, *(key for value in data.values() for key in keys(value))]
    return [key for value in data for key in keys(value)] if isinstance(data, list) else []


def assert_same_text(text: str, data: object) -> None:
    assert readings(text) == [[data], [data]]
    assert [type(key) for key in keys(data)] == [str for _ in keys(data)]
    assert parse_yaml(text, "f").data == data


def test_the_readers_of_this_test_disagree_as_they_should() -> None:
    assert readings("[08, 1e3, 0o7, on, 1:30, 010]") == [
        [["08", "1e3", "0o7", True, 90, 8]],
        [[8, 1e3, 7, "on", "1:30", 10]],
    ]


@pytest.mark.parametrize("word", WORDS)
def test_a_word_is_the_same_text_to_every_reader(word: str) -> None:
    data = {"value": word, word: word, "list": [word, 1, 1.5, True, None], "more": {word: [word]}}
    if word in data and word == "":
        data.pop("")  # no reader here takes an empty key for text
    assert_same_text(yaml_text(data), data)
    assert_same_text(yaml_text(data, width=40, flow=None), data)


@given(st.text("0123456789abcdefoxyYnNeE_.:+-~<= tTzZ", max_size=8))
def test_any_word_is_the_same_text_to_every_reader(word: str) -> None:
    data = {"value": word, f"{word}": word} if word else {"value": word}

    assert_same_text(yaml_text(data), data)
    if word:
        assert_same_text(f"key: {yaml_word(word)}\n{yaml_word(word)}: 1\n", {"key": word, word: 1})


@given(st.text("0123456789abcdefoxyYnNeE_.:+-~<=", min_size=1, max_size=8))
def test_a_word_that_a_reader_takes_for_something_else_is_not_bare(word: str) -> None:
    try:
        read = [
            document for (document,) in readings(word) if document != word and not isinstance(document, dict | list)
        ]
    except (yaml.YAMLError, ValueError):
        return  # no scalar at all, or one that no value fits: 2026-99-99
    assert not (read and is_text(word)), read


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(WORDS)
DATA = st.recursive(
    SCALARS,
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(max_size=8) | st.sampled_from(WORDS), parts),
    max_leaves=12,
)


@given(DATA)
def test_what_is_written_quickly_is_what_pyyaml_writes(data: object) -> None:
    narrower = (1 << 20) - 1  # another width is left to PyYAML
    assert yaml_text(data) == yaml_text(data, width=narrower)


def test_common_names_stay_bare() -> None:
    for name in ("coder", "a.b", "general-2", "x_y", "fp8", "e5", "nodes", "Qwen2.5", "v1", "0.33.0", "none", "one"):
        assert yaml_word(name) == name
        assert yaml_text({name: name}) == f"{name}: {name}\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_with_such_names_is_read_back(name: str, tmp_path: Path) -> None:
    plan = plans.plan(
        plans.server(name, revision=name, node=name, model=name), plans.server("other", port=8002), fleet=name
    )
    text = plan_to_yaml(plan)
    (tmp_path / "plan.yaml").write_text(text, encoding="utf-8")

    assert plan_from_yaml(tmp_path / "plan.yaml") == plan
    assert_same_text(text, parse_yaml(text, "f").data)


def test_every_rendered_file_is_read_alike() -> None:
    servers = [plans.server(name, port=8001 + port, gpu_indices=(port,)) for port, name in enumerate(NAMES[::3])]
    plan = plans.plan(*servers, fleet="1e3", engine_version="0.32.0")
    files = render(plan, targets=(*DEFAULT_TARGETS, *EXTRA_TARGETS))
    found = {path: file.text for path, file in files.items() if path.endswith((".yaml", ".yml"))}

    assert {"compose.yaml", "litellm/compose.yaml", "kubernetes/fleet/servers.yaml"} <= found.keys()
    for path, text in found.items():
        old, new = readings(text)
        assert json.dumps(old) == json.dumps(new), path  # 1 is not True here
        assert [key for key in keys(old) if not isinstance(key, str)] == [], path


def test_solve_then_verify(tmp_path: Path) -> None:
    role = {"task": "general", "models": ["Qwen2.5-1.5B-Instruct"], "context": "4k"}
    names = [name for name in NAMES if len(name) < 12 and name == name.lower()][::4]
    document = {"name": "0o7", "gpu": {"name": "H200 SXM", "count": 3}, "roles": dict.fromkeys(names, role)}
    (tmp_path / "fleet.yaml").write_text(json.dumps(document), encoding="utf-8")

    assert [role.name for role in load_fleet(tmp_path / "fleet.yaml", catalog()).roles] == sorted(names)
    for command in (["solve", str(tmp_path / "fleet.yaml")], ["verify", str(tmp_path)]):
        done = CliRunner(catch_exceptions=False).invoke(main, command)
        assert done.exit_code == 0, done.output
