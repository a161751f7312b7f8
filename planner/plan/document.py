"""Plan <-> plan.yaml: the same plan is always the same bytes, and a file is read strictly."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from planner.engine.settings import defaults
from planner.errors import InputError, NewerPlan, Problem
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
    return {"schema": SCHEMA, **dataclasses.asdict(plan, dict_factory=_written)}


def _written(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in pairs if key not in OMITTED or value != OMITTED[key]}


def _validated(data: dict[str, Any], source: Source) -> Plan:
    from pydantic import TypeAdapter, ValidationError

    try:
        plan = TypeAdapter(Plan).validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        mistakes = [(mistake["loc"], mistake["msg"]) for mistake in error.errors(include_url=False)]
        problems = [source.problem(path, text[:1].lower() + text[1:]) for path, text in mistakes]
        raise InputError(tuple(problems)) from None
    known = dataclasses.asdict(plan)
    surplus = [source.problem(path, "unknown key", at_key=True) for path in _surplus(data, known, ())]
    if surplus:
        raise InputError(tuple(surplus))
    return plan


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
