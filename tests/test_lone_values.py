"""A value alone for a map or a list: wherever one is read, it means the map or the list; to the schema too."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from fleets import catalog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from planner.errors import InputError
from planner.fleet import SET_OPTION, Edit, fleets, json_schema, load_fleet, read_fleet, scenarios
from planner.fleet.schema import FleetMap
from planner.live.observed import edited, proposals
from planner.live.prometheus import Asked
from planner.yaml_source import parse_yaml

SCHEMA = json_schema()
FLEET: dict[str, Any] = {
    "name": "lab",
    "nodes": {"desk": {"gpu": "L40S"}},
    "roles": {"reader": {"task": "embedding", "context": "8k"}, "writer": {"task": "chat", "context": "8k"}},
}
PLACES = {"FleetMap": (), "PoolMap": ("nodes", "desk"), "RoleMap": ("roles", "reader")}
"""Where the maps are whose keys others are found under."""


def keys(place: tuple[str, ...], properties: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield every key below a place with its schema; of maps by name that of one name."""
    for key, own in properties.items():
        path = (*place, key)
        if key in ("nodes", "roles"):
            path = (key, "desk" if key == "nodes" else "reader")
            own = own.get("additionalProperties", own)
        elif key in ("figures", "names"):
            path, own = (*path, "one"), own["additionalProperties"]
        whole = {**own, **(SCHEMA["$defs"][own["$ref"].rpartition("/")[2]] if "$ref" in own else {})}
        yield path, whole
        for form in whole.get("anyOf", [whole]):
            yield from keys(path, form.get("properties", {}))


ALL = dict(keys((), SCHEMA["properties"]))
FORMS = {path: own.get("anyOf", [own]) for path, own in ALL.items()}
MAPS = {path: found for path, forms in FORMS.items() if (found := [form for form in forms if "properties" in form])}
LISTS = [path for path, forms in FORMS.items() if any(form.get("type") == "array" for form in forms)]
LED = [path for path in MAPS if path != ("roles", "reader")]
LONE = st.one_of(
    st.integers(-1, 70_000),
    st.floats(0, 200),
    st.booleans(),
    st.text(max_size=8),
    st.sampled_from(["8k", "50ms", "3/s", "L40S", "vllm", "auto", "off", "ngram", "fp8", "cost", "--max-log-len 9"]),
)


def at(path: tuple[str, ...], value: object) -> dict[str, Any]:
    """Return the fleet with a value at a path."""
    document = copy.deepcopy(FLEET)
    here: dict[str, Any] = document
    for part in path[:-1]:
        here = here.setdefault(part, {})
    here[path[-1]] = value
    return document


def read(document: dict[str, Any]) -> tuple[object, bool]:
    """Return what a fleet says, None where a value is wrong, and whether its JSON Schema takes it."""
    told = jsonschema.Draft202012Validator(SCHEMA).is_valid(document)
    try:
        return FleetMap.model_validate(document).model_dump(), told
    except ValidationError:
        return None, told


def test_maps_and_lists_are_found() -> None:
    assert {path[-1] for path in LED} >= {
        "engine", "owned", "desk", "cluster", "context", "concurrency", "request", "speed", "users", "accuracy", "one",
        "lora", "speculative", "images",
    }  # fmt: skip
    assert {path[-1] for path in LISTS} >= {"models", "objective", "tensor_parallel", "time_share", "modules"}


@pytest.mark.parametrize("path", LED, ids=".".join)
@given(value=LONE)
def test_a_value_alone_is_that_of_the_leading_key(path: tuple[str, ...], value: object) -> None:
    (form,) = MAPS[path]
    leading = next(iter(form["properties"]))
    lone, within = read(at(path, value)), read(at(path, {leading: value}))

    if path[-1] == "speculative" and value is False:  # what YAML makes of off, elsewhere
        within = read(at(path, {leading: "off"}))

    assert lone[0] == within[0]
    if set(form.get("required", ())) <= {leading}:
        assert lone[1] == within[1]


@pytest.mark.parametrize("path", LISTS, ids=".".join)
@given(value=LONE)
def test_an_item_alone_is_a_list_of_it(path: tuple[str, ...], value: object) -> None:
    item: object = ["reader", "writer"] if path == ("time_share",) else value
    if item == "auto":
        return
    lone, within = read(at(path, item)), read(at(path, [item]))

    assert lone[0] == within[0]
    if lone[0] is not None:
        assert lone[1] == within[1]


def written(folder: Path, document: dict[str, Any]) -> Path:
    path = folder / "fleet.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def test_what_is_missing_beside_a_value_alone_is_said_at_its_place(tmp_path: Path) -> None:
    document = at(("roles", "writer", "users"), 20)
    document["roles"]["writer"]["request"] = 512
    document["roles"]["reader"]["accuracy"] = 0.95
    with pytest.raises(InputError) as caught:
        load_fleet(written(tmp_path, document), catalog())

    said = {problem.path: (problem.line, problem.message) for problem in caught.value.problems}
    lines = (tmp_path / "fleet.yaml").read_text().splitlines()
    assert lines[said["roles.writer.users.think_time"][0] - 1].strip() == "users: 20"
    assert lines[said["roles.writer.request.output_tokens"][0] - 1].strip() == "request: 512"
    assert said["roles.reader.accuracy"][1] == "0.95 reads as 0.95 percent"


def test_a_scenario_may_set_another_key_beside_a_value_alone(tmp_path: Path) -> None:
    document = at(("roles", "writer", "speed"), "50ms")
    document["roles"]["reader"]["request"] = 512
    document["roles"]["writer"]["request"] = {"prompt_tokens": 512, "output_tokens": 64}
    file = read_fleet(written(tmp_path, document))
    edits = [Edit(SET_OPTION, "roles.writer.speed.ttft=2s"), Edit(SET_OPTION, "roles.reader.request.prompt_tokens=1k")]
    before, slower, longer = fleets(file, scenarios(edits, matrix=False), catalog())

    def role(fleet: Any, name: str) -> Any:  # noqa: ANN401 - facts of a fleet
        return next(one for one in fleet.roles if one.name == name)

    assert role(before, "reader").prompt_tokens == 512
    assert role(longer, "reader").prompt_tokens == 1024
    assert (role(slower, "writer").tpot_us, role(slower, "writer").ttft_us) == (50_000, 2_000_000)


def test_what_was_observed_takes_the_place_of_a_value_alone() -> None:
    text = "name: lab\nroles:\n  reader: {task: embedding, context: 8k, request: 512}  # ours\n"
    source = parse_yaml(text, "fleet.yaml")
    seen = Asked(concurrency=None, prompt_tokens=700, output_tokens=3, requests_per_second=None, cached_share=None)

    after = edited(text, source, list(proposals(source, "reader", seen)))

    assert after == text.replace("512", "700")
