"""A real Chromium, and pages in it of which everything that they say and ask for is kept."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Opened:
    """A page in the browser: what its console said, what it asked for, and whether it opened a dialog."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def texts(self, selector: str) -> list[str]:
        found: list[str] = self.page.locator(selector).all_text_contents()
        return found

    def drawn(self, chart: str) -> str:
        """Return all text of a chart, which is drawn when it is scrolled to."""
        place = self.page.locator(f"#{chart}")
        place.scroll_into_view_if_needed()
        place.locator("svg").wait_for()
        return "\n".join(place.locator("svg text").all_text_contents())


class Chromium:
    """Debian's Chromium, and files for it."""

    def __init__(self, browser: Any, folder: Path) -> None:  # noqa: ANN401 - playwright is only there for these tests
        self.browser, self.folder, self.count = browser, folder, 0

    def open(self, html: str, **context: Any) -> Opened:  # noqa: ANN401 - options of playwright
        self.count += 1
        path = self.folder / f"{self.count}.html"
        path.write_text(html, encoding="utf-8")
        return self.visit(path.as_uri(), **context)

    def visit(self, url: str, **context: Any) -> Opened:  # noqa: ANN401 - options of playwright
        page = self.browser.new_context(**context).new_page()
        found = Opened(page)
        page.on("console", lambda message: found.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: found.said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: found.said.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: found.asked.append(request.url))
        page.goto(url)
        return found


@contextmanager
def started(folder: Path) -> Iterator[Chromium]:
    """Run a Chromium; its pages are written to a folder."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    assert program, "start these tests with tests/browser/run, which installs what they need"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield Chromium(browser, folder)
        browser.close()
