"""Plan <-> plan.yaml: the same plan is always the same bytes, and a file is read strictly."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from planner.engine.settings import defaults
from planner.errors import InputError, NewerPlan, Problem
from planner.plain_data import as_dict
from planner.plan.no_plan import NoPlan
from planner.plan.plan import Plan
from planner.yaml_source import FieldPath, Source, read_yaml
from planner.yaml_text import yaml_text

OMITTED = {
    "attention_backend": "",
    "pipeline_parallel_size": 1,
    "data_parallel_size": 1,
    "expert_parallel": False,
    "context_parallel_size": 1,
    "later_stages": (),
    "master_port": 0,
    "point": None,
    "prices": (),
    "unseen": (),
    "system_bytes": 0,
    "hf_overrides": "",
    "chat_template": "",
    "spread": "",
    "speed": None,
    "speed_sha256": "",
    "price": None,
    "microdollars_per_node_hour": 0,
    "money": None,
    "known_faults": (),
    "interrupted": False,
    "unsearched": (),
    "cut": False,
    "asleep": None,
    "first_ms": 0,
    "shared_bytes": 0,
    "time_share": (),
    "awake_sets": (),
    "cluster": {},
    "dra": False,
    "close_calls": (),
    "settings": {},
    "shared": (),
    **defaults(),
}
"""Keys that are not written where they have these values: a server is in one stage and one rank of data parallelism, a
GPU has memory of its own, a plan is on no frontier, a search ended by itself, a role states no request, pins nothing of
the engine and takes no turns."""

_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_EXPECTED = re.compile(r"Expected `([^`]*)`, got `[^`]*`")
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a map",
}

SCHEMA = 1
"""Version of plan.yaml. It rises when a field changes its meaning or goes, so that an old reader refuses the file."""


def plan_to_yaml(plan: Plan) -> str:
    """Return the text of ``plan.yaml``: fields in the order of their definition, no dates, no machine names."""
    return yaml_text(_document(plan))


def plan_json(plan: Plan | NoPlan) -> str:
    """Return the plan as JSON with the keys of ``plan.yaml``, or the facts that prove that there is none."""
    return json.dumps(_document(plan), indent=2, ensure_ascii=False) + "\n"


def plan_from_yaml(path: Path) -> Plan:
    """Read a ``plan.yaml``.

    Raises:
        InputError: the file is no plan, or one of a schema this version does not read.
    """
    return _plan(read_yaml(path))


def earlier_plan(path: Path) -> Plan | None:
    """Read a ``plan.yaml``; None where the file is empty, as of a revision that had none.

    Raises:
        InputError: as ``plan_from_yaml`` does.
    """
    source = read_yaml(path)
    return None if source.data is None else _plan(source)


def _plan(source: Source) -> Plan:
    data = source.data
    if not isinstance(data, dict) or "schema" not in data:
        hint = "`planner solve` writes plan.yaml"
        raise InputError((Problem(source.file, 0, 0, "", "this is not a plan", hint),))
    if data["schema"] != SCHEMA:
        raise _other_schema(source, data["schema"])
    return _validated({key: value for key, value in data.items() if key != "schema"}, source)


def _other_schema(source: Source, found: object) -> InputError:
    """Say why a plan of another schema is not read, and what to do."""
    again = "make the plan again with `planner solve --fresh`"
    if isinstance(found, int) and found > SCHEMA:
        message = f"a newer planner wrote this plan: its schema is {found}, and this version reads {SCHEMA}"
        return NewerPlan((source.problem(("schema",), message, f"upgrade the planner, or {again}"),))
    message = f"plan schema {found!r} cannot be read by this version, which reads {SCHEMA}"
    return InputError((source.problem(("schema",), message, again),))


def _document(plan: Plan | NoPlan) -> dict[str, Any]:
    return {"schema": SCHEMA, **as_dict(plan, _written)}


def _written(key: str, value: object) -> bool:
    return key not in OMITTED or value != OMITTED[key]


def _validated(data: dict[str, Any], source: Source) -> Plan:
    try:
        plan = msgspec.convert(data, Plan)
    except msgspec.ValidationError as error:
        raise InputError((_mistake(str(error), source),)) from None
    known = as_dict(plan)
    surplus = [source.problem(path, "unknown key", at_key=True) for path in _surplus(data, known, ())]
    if surplus:
        raise InputError(tuple(surplus))
    return plan


def _mistake(text: str, source: Source) -> Problem:
    """Return a mistake that msgspec found, such as ``Expected `int`, got `str` - at `$.servers[0].port` ``."""
    said, _, where = text.partition(" - at ")
    path: FieldPath = tuple(int(number) if number else key for key, number in _STEP.findall(where))
    if missing := _MISSING.fullmatch(said):
        return source.problem((*path, missing[1]), "required key is missing")
    if other := _EXPECTED.fullmatch(said):
        kinds = (_KINDS.get(kind, kind) for kind in other[1].split(" | "))
        return source.problem(path, f"expected {' or '.join(kinds)}")
    return source.problem(path, (said[:1].lower() + said[1:]).replace("`", "'"))


def _surplus(read: Any, known: Any, path: FieldPath) -> Iterator[FieldPath]:  # noqa: ANN401 - plain data
    """Yield the paths of keys that are in the file and not in the plan made from it."""
    if isinstance(read, dict):
        for key, value in read.items():
            if key not in known:
                yield (*path, key)
            else:
                yield from _surplus(value, known[key], (*path, key))
    elif isinstance(read, list):
        for index, (item, other) in enumerate(zip(read, known, strict=True)):
            yield from _surplus(item, other, (*path, index))
