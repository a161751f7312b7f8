"""The river: modules import only from modules above them, and the dear libraries stay in their rooms."""

import ast
import functools
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "planner"

ORDER = [
    "version", "errors", "units", "plain_data", "resources", "cache", "yaml_data", "yaml_source", "yaml_text",
    "architecture", "facts", "search", "engine", "config_json", "checkpoint", "logs", "tensors", "memory", "speed",
    "catalog", "adopt", "fleet", "inventory", "options", "plan", "conflict", "check", "explain", "solve", "artifacts",
    "report", "live", "cli", "__main__",
]  # fmt: skip
ROOMS = {
    "ortools": ("search",),
    "jinja2": ("artifacts", "report"),
    "click": ("cli",),
    "mcp": ("cli",),
    "mcp_types": ("cli",),
    "anyio": ("cli",),
    "jsonschema": ("cli",),
    "matplotlib": ("cli",),
    "pydantic": ("catalog", "fleet"),
    "tree_sitter": ("adopt",),
    "tree_sitter_bash": ("adopt",),
    "yaml": ("adopt", "yaml_data", "yaml_source", "yaml_text", "catalog", "fleet", "plan", "artifacts", "cli"),
}
SEARCH_MAY_USE = {"errors", "units", "search"}
"""The search is about integers: what it imports of the package knows neither models nor bytes."""
SOURCES = sorted(PACKAGE.rglob("*.py"))


def noun(path: Path) -> str:
    """Name the room of a module, or the module that is beside them."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


@functools.cache
def imported(path: Path) -> set[str]:
    """Dotted names of everything a module imports, function-level imports included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def test_imports_flow_downhill() -> None:
    uphill = [
        f"{path.relative_to(PACKAGE)} imports {name}, which lies further down the river"
        for path in SOURCES
        if noun(path) != "__init__"
        for name in imported(path)
        if (parts := name.split("."))[0] == "planner"
        and parts[1:]
        and parts[1] in ORDER
        and ORDER.index(parts[1]) > ORDER.index(noun(path))
    ]

    assert uphill == []


def test_libraries_stay_in_their_rooms() -> None:
    outside = [
        f"{path.relative_to(PACKAGE)} imports {library}"
        for path in SOURCES
        for library in {name.split(".")[0] for name in imported(path)} & ROOMS.keys()
        if noun(path) not in ROOMS[library]
    ]

    assert outside == []


def test_no_module_is_longer_than_four_hundred_lines() -> None:
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}

    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_the_search_knows_integers_only() -> None:
    rooms = {
        name.split(".")[1]
        for path in (PACKAGE / "search").rglob("*.py")
        for name in imported(path)
        if name.startswith("planner.")
    }

    assert rooms <= SEARCH_MAY_USE


@pytest.mark.parametrize(
    "room", sorted(path.parent for path in PACKAGE.glob("*/__init__.py")), ids=lambda room: room.name
)
def test_every_room_says_what_goes_in_and_what_comes_out(room: Path) -> None:
    said = (ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8"))) or "").splitlines()[0]

    assert said.startswith(f"{room.name.capitalize()}: ")
    assert " in; " in said
    assert " out." in said
