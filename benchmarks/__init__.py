"""Benchmarks: what the planner claims, measured."""
