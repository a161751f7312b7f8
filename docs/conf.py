"""How the site is made of these pages: by Sphinx with MyST, where every warning is an error (.ci/build-site)."""

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

project = "planner"
extensions = ["myst_parser"]
exclude_patterns = ["schemas"]
myst_heading_anchors = 4
"""Links to headings are checked, too, down to this level."""

html_theme = "furo"
html_title = project
html_copy_source = False
html_show_copyright = False
smartquotes = False
"""``--option`` and "words" stay as they are written."""

suppress_warnings = ["misc.highlighting_failure"]
"""Output of a command is no shell, though it follows one; it is then shown in one colour."""

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LINK = re.compile(r"\[([^\[\]]+)\]\((\.\./[^)#]+)(?:#[^)]*)?\)")
PART = re.compile(r"^## (.+)\n((?:.*\n)*?)(?=^## |\Z)", re.MULTILINE)


def outside(app: Sphinx, name: str, source: list[str]) -> None:
    """Say of a file that is not part of the docs where it is in a checkout, in place of a link to it."""
    folder = (HERE / name).parent

    def said(match: re.Match[str]) -> str:
        path = (folder / match[2]).resolve()
        if path.is_relative_to(HERE):
            return match[0]
        if not path.exists():
            logging.getLogger(__name__).warning("no such file: %s", match[2], location=name)
        return f"{match[1]} (`{path.relative_to(ROOT)}`)"

    source[0] = LINK.sub(said, source[0])


def contents(app: Sphinx, name: str, source: list[str]) -> None:
    """Make the navigation of the lists of index.md; Sphinx warns of a page that is in none."""
    if name == "index":
        for caption, text in PART.findall(source[0]):
            pages = "\n".join(re.findall(r"^- \[[^\]]+\]\((.+?)\.md\)", text, re.MULTILINE))
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{pages}\n```\n"


def setup(app: Sphinx) -> None:
    """Register what is done to pages before they are read."""
    app.connect("source-read", outside)
    app.connect("source-read", contents)
