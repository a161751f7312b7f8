"""Artifacts: a plan in; the files that run it, written without destroying what a person changed, out."""

from planner.artifacts.render import render
from planner.artifacts.sums import HOME
from planner.artifacts.switch import File
from planner.artifacts.targets import DEFAULT_TARGETS, EXTRA_TARGETS
from planner.artifacts.write import Outcome, Verb, changes, edited, write

__all__ = [
    "DEFAULT_TARGETS",
    "EXTRA_TARGETS",
    "HOME",
    "File",
    "Outcome",
    "Verb",
    "changes",
    "edited",
    "render",
    "write",
]
