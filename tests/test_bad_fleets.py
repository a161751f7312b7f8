"""Every mistake a fleet file can have: cases/bad-fleets/<case>.yaml and beside it, in .txt, what the user reads."""

from pathlib import Path

import pytest

from planner.catalog import Catalog, load_catalog
from planner.errors import InputError
from planner.fleet import load_fleet

CASES = Path(__file__).parent / "cases"
BAD_FLEETS = sorted((CASES / "bad-fleets").glob("*.yaml"))


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog(CASES / "catalog")


def complaint(path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(path.parent)
    with pytest.raises(InputError) as caught:
        load_fleet(Path(path.name), catalog)
    return f"{caught.value}\n"


@pytest.mark.parametrize("path", BAD_FLEETS, ids=lambda path: path.stem)
def test_each_mistake_is_reported_with_its_place(
    path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, update_golden: bool
) -> None:
    text = complaint(path, catalog, monkeypatch)
    expected = path.with_suffix(".txt")
    if update_golden:
        expected.write_text(text, encoding="utf-8")

    assert expected.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("path", BAD_FLEETS, ids=lambda path: path.stem)
def test_no_library_speaks_to_the_user(path: Path) -> None:
    text = path.with_suffix(".txt").read_text(encoding="utf-8")

    for word in ("http:", "https:", "pydantic", "yaml.", "Input should", "Traceback", "line 1, column"):
        assert word not in text
    assert text.replace("\n", "").isprintable()


def test_missing_file(tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    assert complaint(tmp_path / "fleet.yaml", catalog, monkeypatch) == (
        "fleet.yaml: no such file\n  hint: a fleet of another name or folder is given by its path, after --fleet where "
        "a plan or folder is named; `planner init` writes a starter file\n"
    )


def test_folder_instead_of_file(tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fleet.yaml").mkdir()

    assert complaint(tmp_path / "fleet.yaml", catalog, monkeypatch) == "fleet.yaml: is a folder, not a file\n"
    (tmp_path / "fleet.yaml" / "fleet.yaml").touch()
    assert complaint(tmp_path / "fleet.yaml", catalog, monkeypatch) == (
        f"fleet.yaml: is a folder, not a file\n  hint: its fleet is {Path('fleet.yaml') / 'fleet.yaml'}\n"
    )


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"name: fl\xffeet\n", "fleet.yaml:1:9: the file is not UTF-8 text\n  hint: save the file as UTF-8\n"),
        (
            "name: fleet\n".encode("utf-16"),
            "fleet.yaml:1:1: the file is not UTF-8 text\n  hint: save the file as UTF-8\n",
        ),
        (b"# " + b"x" * (1 << 20), "fleet.yaml: larger than 512 KiB, so not a file people write\n"),
        (b"a: {" * 5000, "fleet.yaml:1:68: a.a: nested more than 16 levels deep\n"),
    ],
    ids=["latin-1", "utf-16", "huge", "very-deep"],
)
def test_files_that_are_not_text_people_write(
    raw: bytes, expected: str, tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fleet.yaml").write_bytes(raw)

    assert complaint(tmp_path / "fleet.yaml", catalog, monkeypatch) == expected
