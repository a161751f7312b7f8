"""How figures are written: nothing that differs may look the same."""

import pytest

from planner.explain.words import stage_change
from planner.units import GIB


@pytest.mark.parametrize(
    ("name", "now", "before", "text"),
    [
        ("balanced", 1_900_000, 1_950_000, "2.6 % less"),
        ("balanced", 1_900_001, 1_900_002, "less than 0.001 % less"),
        ("headroom", GIB, 2 * GIB, "1.00 GiB instead of 2.00 GiB"),
        ("headroom", GIB, GIB + 1, "1,073,741,824 bytes instead of 1,073,741,825 bytes"),
    ],
)
def test_two_values_of_a_stage_never_read_the_same(name: str, now: int, before: int, text: str) -> None:
    assert stage_change(name, now, before) == text
