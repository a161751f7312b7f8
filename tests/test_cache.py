import datetime
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plans
import pytest
from jinja2 import Environment

from planner import cache
from planner.artifacts import File, render
from planner.artifacts.render import shipped
from planner.resources import data_folder
from planner.yaml_data import UnreadableData, read_data


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PLANNER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "made"


def made(content: bytes = b"content", data: Any = None, source: str = "/data/file.yaml") -> tuple[Any, int]:  # noqa: ANN401
    """Return what is kept of some content, and how often it had to be made."""
    calls: list[int] = []

    def make() -> Any:  # noqa: ANN401
        calls.append(1)
        return {"words": ["a", 1, 2.5, None, True]} if data is None else data

    return cache.kept(Path(source), content, make), len(calls)


def test_what_was_made_once_is_read_again(folder: Path) -> None:
    first, second = made(), made()

    assert first == ({"words": ["a", 1, 2.5, None, True]}, 1)
    assert second == (first[0], 0)
    assert len(list(folder.iterdir())) == 1


def test_other_content_is_made_anew_and_takes_the_place_of_the_old(folder: Path) -> None:
    made(b"old")

    assert made(b"new")[1] == 1
    assert made(b"new")[1] == 0
    assert len(list(folder.iterdir())) == 1


def test_files_of_one_name_do_not_take_each_others_place(folder: Path) -> None:
    made(source="/one/file.yaml")
    made(source="/other/file.yaml")

    assert made(source="/one/file.yaml")[1] == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"",
        lambda text: text[:-3],
        lambda text: text.replace(b"words", b"swords"),
        lambda text: text.partition(b"\n")[2],
        lambda text: b"\x00\xff" * 100,
        lambda text: text.replace(b"2 ", b"0 ", 1),
    ],
    ids=["empty", "cut", "changed", "no head", "no text", "another format"],
)
def test_a_damaged_file_is_made_anew(folder: Path, damage: Any) -> None:  # noqa: ANN401
    data, _ = made()
    (file,) = folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))

    assert made() == (data, 1)
    assert made() == (data, 0)


@pytest.mark.parametrize("data", [{1: "one"}, {"day": datetime.date(2025, 1, 1)}], ids=["number as key", "date"])
def test_data_that_json_would_change_is_not_kept(folder: Path, data: object) -> None:
    assert made(data=data) == (data, 1)
    assert made(data=data) == (data, 1)


def test_nothing_is_kept_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("PLANNER_CACHE", str(tmp_path / "file"))

    assert made()[1] == 1
    assert made()[1] == 1


def test_a_variable_turns_it_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made()
    monkeypatch.setenv("PLANNER_NO_CACHE", "1")

    assert made()[1] == 1


def test_a_file_of_somebody_else_is_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made()
    monkeypatch.setattr(os, "geteuid", lambda: -1)

    assert made()[1] == 1


def test_the_shipped_data_is_kept_and_other_data_is_not(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("a: 1\n", encoding="utf-8")
    shipped = data_folder("catalog") / "schemes.yaml"

    assert read_data(own) == {"a": 1}
    assert not folder.exists()
    first = read_data(shipped)
    assert json.loads(next(folder.iterdir()).read_bytes().partition(b"\n")[2]) == first == read_data(shipped)


def test_what_is_no_yaml_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("a: [1\nb: 2\n", encoding="utf-8")

    with pytest.raises(UnreadableData) as error:
        read_data(path)

    assert (error.value.line, error.value.column) == (2, 2)
    with pytest.raises(UnreadableData, match="No such file"):
        read_data(tmp_path / "missing.yaml")


def rendered_by_another_process() -> dict[str, File]:
    """The files that every target needs, from templates that are loaded anew."""
    shipped.cache_clear()
    return render(plans.two_roles(), targets=())


def test_templates_are_compiled_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = rendered_by_another_process()
    monkeypatch.setattr(Environment, "compile", pytest.fail)

    assert rendered_by_another_process() == first


@pytest.mark.parametrize("damage", [lambda data: data[:20], lambda data: "no base64", lambda data: {"not": "text"}])
def test_a_kept_template_that_is_no_template_is_compiled_anew(folder: Path, damage: Callable[[str], Any]) -> None:
    first = rendered_by_another_process()
    files = [file for file in folder.iterdir() if file.name.startswith("template-")]
    for file in files:
        _, digest, other, _ = file.read_text().split(maxsplit=3)
        name, key = file.stem, f"{digest} {other}"
        cache.keep(name, key, damage(cache.recall(name, key)))

    assert files
    assert rendered_by_another_process() == first
    assert all(cache.recall(file.stem, " ".join(file.read_text().split()[1:3])) != "no base64" for file in files)
