"""Options and fixtures that several test files share."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is, and the first one imports what nobody has compiled yet.
settings.register_profile("unhurried", parent=settings.default, deadline=None)
settings.load_profile("unhurried")
os.environ["HF_HUB_OFFLINE"] = "1"  # before any test imports huggingface_hub, which reads it then
for _name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"):
    os.environ.pop(_name, None)  # they are about the terminal of whoever runs the tests
ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files and console blocks in the docs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files whose tests take long, so that no process is still at one when the others have ended."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Leave what was imported and collected out of every later search for garbage: none of it goes before the end."""
    gc.freeze()


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(autouse=True, scope="session")
def no_own_catalog(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the entries and caches of whoever runs the tests out of them, and ask no hub but a test's own."""
    own = tmp_path_factory.mktemp("own")
    os.environ["PLANNER_CATALOG"] = str(own / "catalog")
    os.environ["PLANNER_CACHE"] = str(own / "cache")
    os.environ["HF_HOME"] = str(own / "hf")
