"""Page: a view as one HTML file that asks for nothing else; the same view is the same bytes."""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from msgspec import Struct

from planner.artifacts.compiled import Compiled
from planner.explain.words import TERMS, accuracy
from planner.plain_data import as_dict
from planner.report.asked import Controls
from planner.report.compare import Compared
from planner.report.no_plan import Bar, NoPlanView
from planner.report.view import View
from planner.resources import data_folder
from planner.units import format_missing, gib

_LIBRARY, _CHARTS, _LIVE, _STYLE = "echarts.common.min.js", "charts.js", "live.js", "page.css"
_NOTHING = Compared()


class Body(Struct, frozen=True, kw_only=True):
    """What changes with the plan: the HTML below the title, and what its charts are drawn from."""

    html: str
    data: dict[str, Any]


def page(view: View | NoPlanView, compared: Compared = _NOTHING, controls: Controls | None = None) -> str:
    """Return the text of the page, with a form that asks its server when there are ``controls``.

    A policy in its head lets the scripts run that are in it, by their hashes, and lets nothing be loaded; with a form
    its own server may be asked.
    """
    scripts = [_script(name) for name in (_LIBRARY, _CHARTS, *([_LIVE] if controls else []))]
    own = body(view, compared)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=view.title,
            planned=isinstance(view, View),
            many=isinstance(view, View) and len(view.servers) > 200,
            main=Markup(own.html),
            data=own.data,
            style=Markup((_folder() / _STYLE).read_text(encoding="utf-8")),
            controls=controls,
            scripts=scripts,
            hashes=[_hash(script) for script in scripts],
        )
    )


def body(view: View | NoPlanView, compared: Compared = _NOTHING) -> Body:
    """Return what of the page changes with the plan."""
    planned = isinstance(view, View)
    html = (
        _environment()
        .get_template("main.html.j2")
        .render(
            view=view,
            compared=compared,
            planned=planned,
            parts_shown=list(_parts(view, compared)),
            terms=list(TERMS),
            **(_of_plan(view) if isinstance(view, View) else {}),
        )
    )
    frontier = {"frontier": as_dict(compared.frontier)} if compared.frontier else {}
    return Body(html=html, data={**(_drawn(view) if isinstance(view, View) else _bars(view)), **frontier})


def _of_plan(view: View) -> dict[str, Any]:
    """Return what the template of a plan asks for besides its view."""
    rest = list(dict.fromkeys(one.what for bar in view.bars for one in bar.rest))
    shared = any(row.server.shared for row in view.servers)
    return {"rest": rest, "shared": shared, "bars_together": any(bar.count > 1 for bar in view.bars)}


def _drawn(view: View) -> dict[str, Any]:
    return {
        "terms": list(TERMS),
        "bars": [as_dict(one) for one in view.bars],
        "curves": [as_dict(one) for one in view.curves],
        "starts": [as_dict(one) for one in view.starts],
    }


def _bars(view: NoPlanView) -> dict[str, Any]:
    left = [
        Bar(label=one.changes[0].path, kind="needed", value=one.permille, text=f"{one.permille / 10:g} %")
        for one in view.relaxations
        if one.permille is not None
    ]
    named = {"needs": view.needs, "lacks": view.lacks, "left": left}
    return {name: [as_dict(bar) for bar in bars] for name, bars in named.items()}


def _parts(view: View | NoPlanView, compared: Compared) -> Iterator[tuple[str, str]]:
    """Yield the name and the title of every part of the page that is linked to from its top."""
    if isinstance(view, View):
        yield from (("servers", "Servers"), ("memory", "Memory"))
        yield from ((f"role-{number}", own.role) for number, own in enumerate(view.curves))
        yield ("starts", "Start order")
        shown = {"turns": view.turns, "pins": view.pins, "faults": view.faults}
        titles = {"turns": "Taking turns", "pins": "As the fleet asks", "faults": "Known faults"}
        yield from ((name, titles[name]) for name, there in shown.items() if there)
        yield from (("reasons", "Why not more"), ("alternatives", "Alternatives"))
    else:
        yield from (("why", "Why there is no plan"), ("relaxations", "What would help"))
    if compared.scenarios:
        yield ("what-if", "What if")
    if compared.frontier:
        yield ("frontier", "Frontier")
    if compared.changes:
        yield ("changes", "What differs")
    if isinstance(view, View):
        yield from (("commands", "Commands"), ("sources", "Sources"))
    yield ("files", "Files")


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_folder()),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        bytecode_cache=Compiled(__file__),
    )
    environment.filters["gib"] = gib
    environment.filters["missing"] = format_missing
    environment.filters["accuracy"] = accuracy
    environment.filters["bytes"] = lambda value: f"{value:,}"
    return environment


def _folder() -> Path:
    return data_folder("templates") / "report"


def _script(name: str) -> Markup:
    """Return a shipped script as it stands in the page."""
    text = (_folder() / name).read_text(encoding="utf-8")
    assert "</script" not in text.lower()
    return Markup(text)


def _hash(script: Markup) -> str:
    """Return a script's hash as a content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
