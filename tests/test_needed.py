"""Needed: what a plan of a role without models remembers of an earlier run changes nothing but the time it takes."""

import copy
from pathlib import Path
from typing import Any

import pytest
from fleets import fleet

from planner.catalog import Catalog, load_catalog
from planner.engine.profile import load_profile
from planner.options import Option, Prepared, places, prepare
from planner.options.needed import question
from planner.plain_data import as_dict

ROLE: dict[str, Any] = {
    "task": "code",
    "schemes": ["awq-int4", "gptq-int4"],
    "context": {"min": "8k", "wish": "16k"},
    "concurrency": {"min": 1, "target": 4},
}
ONE: dict[str, Any] = {
    "name": "one",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "gpu": {"name": "rtx-3090", "count": 2},
    "roles": {"coder": ROLE},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PLANNER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "made"


def prepared(document: dict[str, Any], catalog: Catalog | None = None) -> Prepared:
    found = fleet(document)
    return prepare(found, catalog or load_catalog(), load_profile(found.engine_version))


def facts(found: Prepared) -> list[Any]:
    """What is known of every option, but for the model, which is compared by its name."""
    return [[_plain(option) for option in role.options] + [role.faulty] for role in found.roles]


def _plain(option: Option) -> dict[str, Any]:
    shown = {
        name: getattr(option, name) for name in option.__struct_fields__ if name not in ("model", "variant", "server")
    }
    return shown | {"repository": option.variant.repository, "flags": as_dict(option.server.flags)}


def remembered(folder: Path) -> list[Path]:
    return sorted(folder.glob("needed-*"))


def test_a_second_run_has_the_same_options(folder: Path) -> None:
    document = ONE | {"roles": {"coder": ROLE, "chat": copy.deepcopy(ROLE) | {"task": "chat"}}}
    first = facts(prepared(document))
    kept = [path.read_bytes() for path in remembered(folder)]
    second = facts(prepared(document))

    assert len(kept) >= 1
    assert second == first
    assert [path.read_bytes() for path in remembered(folder)] == kept


def test_it_is_the_same_without_a_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(ONE)
    second = facts(prepared(ONE))
    monkeypatch.setenv("PLANNER_NO_CACHE", "1")

    assert facts(prepared(ONE)) == second


def asked(document: dict[str, Any], catalog: Catalog | None = None, **further: bool) -> str:
    found = fleet(document)
    where = places(found, load_profile(found.engine_version))
    return question(found.roles[0], where, catalog or load_catalog(), None, **further)


def test_what_decides_is_part_of_the_question(tmp_path: Path) -> None:
    overlay = tmp_path / "own"
    overlay.mkdir()
    (overlay / "note.yaml").write_text("{}\n", encoding="utf-8")
    questions = [
        asked(ONE),
        asked(ONE, avoid=False),
        asked(ONE, load_catalog(overlays=(overlay,))),
        asked(ONE | {"roles": {"coder": ROLE | {"context": "32k"}}}),
        asked(ONE | {"roles": {"coder": ROLE | {"schemes": ["awq-int4"]}}}),
        asked(ONE | {"gpu": {"name": "rtx-4090", "count": 2}}),
        asked(ONE | {"engine": {"name": "vllm", "version": "0.32.0"}}),
    ]

    assert len(set(questions)) == len(questions)
    assert asked(ONE) == questions[0]


def test_what_was_cut_is_found_again(folder: Path) -> None:
    first = facts(prepared(ONE))
    (path,) = remembered(folder)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])

    assert facts(prepared(ONE)) == first
    assert path.read_bytes() == whole


def test_nothing_is_remembered_of_a_role_with_few_candidates(folder: Path) -> None:
    prepared(ONE | {"roles": {"coder": ROLE | {"models": ["qwen3-8b"]}}})

    assert remembered(folder) == []
