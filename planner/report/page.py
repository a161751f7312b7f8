"""Page: a view as one HTML file that asks for nothing else; the same view is the same bytes."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from planner.explain.words import TERMS, places
from planner.report.view import View
from planner.resources import data_folder
from planner.units import GIB

_LIBRARY, _CHARTS, _STYLE = "echarts.common.min.js", "charts.js", "page.css"


def page(view: View) -> str:
    """Return the text of the page.

    A policy in its head lets the two scripts run that are in it, by their hashes, and lets nothing be loaded.
    """
    folder = data_folder("templates") / "report"
    environment = Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["gib"] = lambda value: f"{value / GIB:.2f}"
    environment.filters["bytes"] = lambda value: f"{value:,}"
    several_nodes = len({one.node for one in view.starts}) > 1
    environment.filters["places"] = lambda server: places(
        server.groups if several_nodes else [replace(group, node="") for group in server.groups]
    )
    library, charts = (_script(folder / name) for name in (_LIBRARY, _CHARTS))
    data = {
        "terms": list(TERMS),
        "bars": [asdict(one) for one in view.bars],
        "curves": [asdict(one) for one in view.curves],
        "starts": [asdict(one) for one in view.starts],
    }
    return environment.get_template("page.html.j2").render(
        view=view,
        data=data,
        parts_shown=list(_parts(view)),
        several_nodes=several_nodes,
        terms=list(TERMS),
        rest=list(dict.fromkeys(one.what for bar in view.bars for one in bar.rest)),
        style=Markup((folder / _STYLE).read_text(encoding="utf-8")),
        library=library,
        charts=charts,
        hashes=[_hash(library), _hash(charts)],
    )


def _parts(view: View) -> Iterator[tuple[str, str]]:
    """Yield the name and the title of every part of the page that is linked to from its top."""
    yield from (("servers", "Servers"), ("memory", "Memory"))
    yield from ((f"role-{number}", own.role) for number, own in enumerate(view.curves))
    yield ("starts", "Start order")
    if view.turns:
        yield ("turns", "Taking turns")
    if view.pins:
        yield ("pins", "As the fleet asks")
    if view.faults:
        yield ("faults", "Known faults")
    yield from (("reasons", "Why not more"), ("commands", "Commands"), ("sources", "Sources"), ("files", "Files"))


def _script(path: Path) -> Markup:
    """Return a shipped script as it stands in the page."""
    text = path.read_text(encoding="utf-8")
    assert "</script" not in text.lower()
    return Markup(text)


def _hash(script: Markup) -> str:
    """Return a script's hash as a content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
