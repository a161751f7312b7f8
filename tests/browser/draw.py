"""Draws docs/report.png: charts of the page that ``planner report`` makes of one example, as Chromium shows them.

Run by .ci/draw-report, which installs what this needs.
"""

import io
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from browsing import started
from click.testing import CliRunner
from PIL import Image

from planner.cli import main

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLE = "lab-of-mixed-nodes"
SHOWN = ":has(#memory, #held-1)"
"""The parts that are drawn."""

LEFT_OUT = "nav, .scroll, .pager, details, h3:has(+ #pace-1), #pace-1"
"""What of them is not: tables, and a second chart of the role."""


def draw(target: Path) -> None:
    """Write the picture."""
    with TemporaryDirectory() as folder, started(Path(folder)) as chromium:
        report = Path(folder) / "report.html"
        plan = ROOT / "examples" / EXAMPLE / "plan.yaml"
        CliRunner(catch_exceptions=False).invoke(main, ["report", str(plan), "--out", str(report)])
        opened = chromium.visit(
            report.as_uri(), viewport={"width": 900, "height": 2000}, color_scheme="light", bypass_csp=True
        )
        opened.page.add_style_tag(
            content=f"{LEFT_OUT}, section:not({SHOWN}) {{ display: none }}"
            "body { padding: .5rem 1rem } h1, h2 { margin: .25rem 0 } section { margin: .5rem 0; padding: .25rem 0 }"
        )
        for name in ("memory", "held-1"):
            opened.drawn(name)
        opened.page.wait_for_timeout(2000)  # until charts have moved into their places
        drawn = opened.page.locator("body").screenshot()
    picture = Image.open(io.BytesIO(drawn)).convert("RGB")
    picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
