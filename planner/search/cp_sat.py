"""CP-SAT, loaded without pandas.

The solver's library needs pandas for series of variables alone, which nothing here has, and loading it takes longer
than the rest of the library. So it is loaded when something of it is asked for.
"""

import importlib
import sys
from types import ModuleType
from typing import Any


class _Pandas(ModuleType):
    """Pandas as its users see it, loaded with the first of its names that is used."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any name of pandas
        return getattr(importlib.import_module("pandas"), name)


def _cp_model() -> ModuleType:
    """Return the library's module; while it is loaded two names stand for the types that its signatures mention."""
    name = "ortools.sat.python.cp_model"
    if name in sys.modules or "pandas" in sys.modules:
        return importlib.import_module(name)
    stand_in = ModuleType("pandas")
    vars(stand_in).update(Index=type("Index", (), {}), Series=type("Series", (), {}))
    sys.modules["pandas"] = stand_in
    try:
        found = importlib.import_module(name)
    finally:
        del sys.modules["pandas"]
    vars(found)["pd"] = _Pandas("pandas")
    return found


_cp_model()

from ortools.sat.python import cp_model  # noqa: E402 - after it was loaded without pandas
from ortools.sat.python.cp_model import CpSolver  # noqa: E402

__all__ = ["CpSolver", "cp_model"]
