"""Plan -> files that run it: rendered from ``templates/``, written without destroying what a person changed."""

from planner.artifacts.render import render
from planner.artifacts.write import File, Outcome, Verb, write

__all__ = ["File", "Outcome", "Verb", "render", "write"]
