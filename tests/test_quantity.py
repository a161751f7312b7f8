"""Quantities of Kubernetes, in every form its API server takes."""

from fractions import Fraction

import pytest

from planner.inventory.documents import Malformed
from planner.inventory.quantity import quantity, whole


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8), (8, 8), ("8k", 8000), ("1500m", Fraction(3, 2)), ("80Gi", 80 << 30), ("81559Mi", 81559 << 20),
        ("2Ki", 2048), ("1e3", 1000), ("1E3", 1000), ("1E", 10**18), ("0.5", Fraction(1, 2)), (".5Mi", 1 << 19),
        ("5.", 5), ("+3", 3), ("100u", Fraction(1, 10**4)), ("1n", Fraction(1, 10**9)), ("12e-1", Fraction(6, 5)),
        ("-1", -1), ("2Ei", 2 << 60), ("3M", 3_000_000), ("4T", 4 * 10**12), ("5P", 5 * 10**15), ("0", 0),
    ],
)  # fmt: skip
def test_every_form_is_read_exactly(text: object, value: object) -> None:
    assert quantity(text, "x") == value


@pytest.mark.parametrize(
    "text", ["", " 8", "8 Gi", "8KB", "8K", "e3", "1e3Mi", "0x8", "eight", "1_000", "١", 1.5, None, True, [], "1e99999"]
)
def test_anything_else_is_refused(text: object) -> None:
    with pytest.raises(Malformed, match="no quantity"):
        quantity(text, "x")


@pytest.mark.parametrize("text", ["1500m", "0.5", "-1"])
def test_devices_are_counted_in_whole_numbers(text: str) -> None:
    with pytest.raises(Malformed, match="no whole number of devices"):
        whole(text, "x")


def test_a_quantity_may_be_whole_in_any_unit() -> None:
    assert [whole(text, "x") for text in ("8000m", "8k", "1e1", "0.5k")] == [8, 8000, 10, 500]
