"""Which solver answers, told without loading it."""

import ortools

SOLVER_VERSION: str = ortools.__version__  # type: ignore[attr-defined]  # of which its types do not know
"""Its release, such as 9.15.6755: the plan is canonical for one."""
