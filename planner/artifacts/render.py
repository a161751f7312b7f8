"""Plan -> {path: File}: the templates of every target, filled in with one context."""

import functools
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined, TemplateError, TemplateSyntaxError

from planner.artifacts import quoting, serve_args
from planner.artifacts.compiled import Compiled
from planner.artifacts.context import Context, build_context
from planner.artifacts.nodes import many, on_nodes
from planner.artifacts.processes import Server
from planner.artifacts.quoting import FILTERS, slug
from planner.artifacts.serve_args import Argument
from planner.artifacts.switch import File
from planner.artifacts.targets import CLUSTER_TARGETS, DEFAULT_TARGETS, Entry, cluster_entries, entries
from planner.errors import InputError, Problem
from planner.plain_data import as_dict
from planner.plan import Plan
from planner.resources import data_folder


def render(plan: Plan, templates: Path | None = None, targets: Collection[str] = DEFAULT_TARGETS) -> dict[str, File]:
    """Return every artifact of a plan by its path in the output folder, sorted.

    ``templates`` is a folder whose files take the place of the shipped ones of the same name; it may hold any subset.
    ``targets`` names what to render besides the files that all of them need. A fleet of several machines gets a folder
    for each, and a router before them. The same plan, targets and templates always give the same text.

    Raises:
        InputError: a template of the user's is not valid or uses a field that does not exist.
        CheckFailed: the plan needs an option that its engine version does not have.
        ValueError: a name holds a NUL character, which no artifact can carry.
    """
    filler = _Filler(_environment(templates) if templates else shipped())
    if not many(plan):
        context = build_context(plan, targets)
        return dict(sorted(filler.filled(context, entries(context, targets), {}).items()))
    before = [name for name in targets if name in CLUSTER_TARGETS]
    local = [name for name in targets if name not in CLUSTER_TARGETS]
    whole = build_context(plan, before)
    plain = {id(process): as_dict(process) for process in whole.processes}
    files = filler.filled(whole, cluster_entries(whole, before), plain)
    there: dict[str, list[Server]] = {}
    for process in whole.processes:
        there.setdefault(process.node, []).append(process)
    for node, share in on_nodes(plan):
        known = None if plan.time_share else tuple(there[node])  # who takes turns there hangs on who else is there
        context = build_context(share, local, known)
        filled = filler.filled(context, entries(context, local), plain)
        files |= {f"{slug(node)}/{path}": file for path, file in filled.items()}
    return dict(sorted(files.items()))


class _Filler:
    """Templates, and those that are copied as they are, read once: a large fleet has files for each of its nodes."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._copied: dict[str, str] = {}

    def filled(
        self, context: Context, listing: Iterable[Entry], plain: Mapping[int, dict[str, Any]]
    ) -> dict[str, File]:
        """Fill in every template of a listing, by output path; ``plain`` are processes as data, by their identities."""
        plain = plain or {id(process): as_dict(process) for process in context.processes}
        values = as_dict(context, known=plain)  # once: it copies the whole plan
        return {
            path: File(self._text(template, values, server, plain), executable=path.endswith(".sh"))
            for path, template, server in listing
        }

    def _text(
        self, template: str, values: dict[str, Any], server: Server | None, plain: Mapping[int, dict[str, Any]]
    ) -> str:
        """Fill in one template; a file whose name does not end in ``.j2`` is copied as it is."""
        if not template.endswith(".j2"):
            if template not in self._copied:
                assert self._environment.loader is not None
                self._copied[template] = self._environment.loader.get_source(self._environment, template)[0]
            return self._copied[template]
        if server is not None:
            values = {**values, "server": as_dict(server, known=plain)}
        try:
            return self._environment.get_template(template).render(values)
        except TemplateSyntaxError as error:
            raise InputError((Problem(error.filename or template, error.lineno, 1, "", str(error.message)),)) from error
        except TemplateError as error:
            hint = "docs/artifacts.md lists what a template may use"
            raise InputError((Problem(template, 0, 0, "", str(error), hint),)) from error


@functools.cache
def shipped() -> Environment:
    """Return the environment of the shipped templates; each is loaded once, however many plans are rendered."""
    return _environment()


def _environment(*templates: Path) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([FileSystemLoader(folder) for folder in (*templates, data_folder("templates"))]),
        undefined=StrictUndefined,
        autoescape=False,  # nothing here is HTML; every language has its own filter
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        bytecode_cache=Compiled(quoting.__file__, serve_args.__file__, __file__),
    )
    environment.filters.update(FILTERS)
    environment.filters["words"] = lambda argument: Argument(**argument).words
    environment.filters["joined"] = lambda argument: Argument(**argument).joined
    return environment
