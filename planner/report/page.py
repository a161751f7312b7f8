"""Page: a view as one HTML file that asks for nothing else; the same view is the same bytes."""

import base64
import dataclasses
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

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
    library, charts = (_script(folder / name) for name in (_LIBRARY, _CHARTS))
    data = {name: value for name, value in dataclasses.asdict(view).items() if name in ("bars", "curves", "starts")}
    return environment.get_template("page.html.j2").render(
        view=view,
        data=data,
        style=Markup((folder / _STYLE).read_text(encoding="utf-8")),
        library=library,
        charts=charts,
        hashes=[_hash(library), _hash(charts)],
    )


def _script(path: Path) -> Markup:
    """Return a shipped script as it stands in the page."""
    text = path.read_text(encoding="utf-8")
    assert "</script" not in text.lower()
    return Markup(text)


def _hash(script: Markup) -> str:
    """Return a script's hash as a content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
