"""Quantities as Kubernetes writes them: ``8``, ``8k``, ``1500m``, ``80Gi``, ``1e3``."""

import re
from fractions import Fraction

from planner.inventory.documents import Malformed, found

_FORM = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([eE])([+-]?[0-9]+)|([KMGTPE]i|[numkMGTPE]?))")
"""A sign, digits, and one of: a decimal exponent, a binary suffix, a decimal suffix (apimachinery, ``quantity.go``)."""
_SUFFIXES = {
    "": Fraction(1), "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000),
    "k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12), "P": Fraction(10**15),
    "E": Fraction(10**18), "Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30), "Ti": Fraction(2**40),
    "Pi": Fraction(2**50), "Ei": Fraction(2**60),
}  # fmt: skip
_LARGEST_EXPONENT = 18


def quantity(value: object, path: str) -> Fraction:
    """Return a quantity, which JSON has as text or as a whole number, exactly.

    Raises:
        Malformed: it is none.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return Fraction(value)
    match = _FORM.fullmatch(value) if isinstance(value, str) and len(value) <= 64 else None
    if match is None or (match[3] and abs(int(match[3])) > _LARGEST_EXPONENT):
        raise Malformed(path, f"{found(value)} is no quantity", "Kubernetes writes 8, 8k, 1500m, 80Gi or 1e3")
    number, exponent, suffix = Fraction(match[1]), match[3], match[4] or ""
    return number * Fraction(10) ** int(exponent) if exponent else number * _SUFFIXES[suffix]


def whole(value: object, path: str) -> int:
    """Return a quantity that counts things, such as GPUs.

    Raises:
        Malformed: it is no quantity, not whole, or below zero.
    """
    amount = quantity(value, path)
    if amount.denominator != 1 or amount < 0:
        raise Malformed(path, f"{found(value)} is no whole number of devices")
    return int(amount)
