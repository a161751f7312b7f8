"""Conflict: a fleet without a plan in; which of its requirements exclude each other, and which changes help, out."""
