"""The Python interface: few names, imported when used, with the signatures that docs/python-api.md promises."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fleets import PAIR, changed

import planner

PAGE = (Path(__file__).parent.parent / "docs" / "python-api.md").read_text(encoding="utf-8")

SIGNATURES = {
    "differences": "(old: Plan, new: Plan) -> tuple[Difference, ...]",
    "load_catalog": "(directory: Path | None = None, overlays: Iterable[Path] = (), *, offline: bool = False) "
    "-> Catalog",
    "load_fleet": "(path: Path | str, catalog: Catalog | None = None) -> Fleet",
    "pareto": "(fleet: Fleet, x: str, y: str, catalog: Catalog | None = None, budget: int = 60, most: int = 25) "
    "-> Frontier | NoPlan",
    "plan_from_yaml": "(path: Path) -> Plan",
    "plan_to_yaml": "(plan: Plan) -> str",
    "read_fleet": "(path: Path | str) -> FleetFile",
    "render": "(plan: Plan, templates: Path | None = None, targets: Collection[str] = …) -> dict[str, File]",
    "scenarios": "(edits: Sequence[Edit], *, matrix: bool) -> tuple[Scenario, ...]",
    "solve": "(fleet: Fleet, catalog: Catalog | None = None, budget: int = 60, "
    "previous: Plan | None = None) -> Plan | NoPlan",
    "what_if": "(written: FleetFile, wanted: Sequence[Scenario], catalog: Catalog, budget: int = 60, "
    "workers: int | None = None, running: Plan | None = None) -> Iterator[ScenarioOutcome]",
    "write": "(files: Mapping[str, File], folder: Path, *, force: bool = False, dry_run: bool = False, "
    "over: Collection[str] = (), go_on: Callable[[], None] | None = None) -> tuple[Outcome, ...]",
}
CLASSES = {
    "BudgetSpent", "Catalog", "CheckFailed", "Difference", "Edit", "File", "Fleet", "Frontier", "InputError", "NoPlan",
    "Plan", "PlannerError", "Pool", "Problem", "Role", "Scenario", "ScenarioOutcome", "ServerPlan",
}  # fmt: skip


def signature(name: str) -> str:
    """A signature without the folders of its types and without long defaults."""
    text = str(inspect.signature(getattr(planner, name))).replace("-> 'Catalog'", "-> Catalog")
    return re.sub(r"frozenset\(.*?\)|\([^()]*'[^()]*\)", "…", re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text))


def test_these_names_are_public() -> None:
    assert set(planner.__all__) == {*SIGNATURES, *CLASSES, "__version__"}
    assert all(inspect.isclass(getattr(planner, name)) for name in CLASSES)
    assert dir(planner) == sorted(planner.__all__)


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_a_signature_stays(name: str) -> None:
    assert signature(name) == SIGNATURES[name]


@pytest.mark.parametrize("name", sorted({*SIGNATURES, *CLASSES}))
def test_the_page_names_it(name: str) -> None:
    assert f"`{name}" in PAGE


def test_another_name_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'planner' has no attribute 'colour'"):
        planner.colour  # noqa: B018


def loaded(code: str) -> set[str]:
    """Names of the libraries that are loaded after some code ran in a new interpreter."""
    script = f"import sys, json; {code}; print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout))


def test_importing_the_package_loads_nothing() -> None:
    assert not loaded("import planner") & {"ortools", "pandas", "numpy", "jinja2", "pydantic", "yaml", "click"}
    assert not loaded("import planner; planner.load_fleet; planner.Plan") & {"ortools", "pandas", "jinja2", "click"}


def test_the_solver_is_loaded_without_pandas_and_takes_its_series_all_the_same() -> None:
    series = """
import planner.search.optimise, pandas
from ortools.sat.python import cp_model
assert len(cp_model.CpModel().new_int_var_series("x", pandas.Index(["a", "b"]), 0, 3)) == 2
"""

    assert "pandas" not in loaded("import planner.search.optimise")
    assert "pandas" in loaded(f"exec({series!r})")


def test_the_room_and_the_function_of_one_name_are_both_there() -> None:
    from planner.solve import BUDGET, solve

    assert BUDGET
    assert callable(planner.solve)
    assert inspect.isfunction(solve)


def test_the_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(changed(PAIR, "gpu", "l40s")), encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    for block in blocks:
        exec(compile(block, "docs/python-api.md", "exec"), {"__name__": "page"})

    assert (tmp_path / "plan.yaml").read_text(encoding="utf-8").startswith("schema: ")
    assert (tmp_path / "artifacts").is_dir()
    assert len(blocks) == 3
