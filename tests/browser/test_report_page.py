"""The page of a plan in a real browser: what is drawn, what clicks change, what is asked for, and who can use it."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from browsing import Chromium, Opened, started
from test_explain import NO_PLAN
from test_report import hostile, many_servers
from test_report_compared import compared

from planner.catalog import load_catalog
from planner.fleet import load_fleet
from planner.plan import Plan, plan_from_yaml
from planner.report import View, no_plan_view, page, view

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
NAMES = ("both-in-8-bit", "desk-in-turns", "lab-of-mixed-nodes")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with started(tmp_path_factory.mktemp("pages")) as found:
        yield found


@cache
def example(which: str) -> tuple[Plan, View]:
    catalog, folder = load_catalog(), EXAMPLES / which
    plan = plan_from_yaml(folder / "plan.yaml")
    fleet = load_fleet(folder / "fleet.yaml", catalog)
    texts = ((folder / name).read_text(encoding="utf-8") for name in ("fleet.yaml", "plan.yaml"))
    return plan, view(plan, fleet, catalog, *texts)


def other(which: str) -> str:
    """The pages that are no plan alone."""
    return page(example("both-in-8-bit")[1], compared()[0]) if which == "compared" else page(no_plan_view(NO_PLAN, ""))


def charts(opened: Opened) -> list[str]:
    return [str(place.get_attribute("id")) for place in opened.page.locator(".chart").all()]


def violations(opened: Opened) -> list[str]:
    """What axe finds wrong, with the element."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(opened.page).response["violations"]
    return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_every_chart_is_drawn_and_nothing_is_asked_for(chromium: Chromium, name: str, scheme: str) -> None:
    opened = chromium.open(page(example(name)[1]), color_scheme=scheme)

    assert all(opened.drawn(chart) for chart in charts(opened))
    assert opened.said == []
    assert len(opened.asked) == 1
    ground = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") is (scheme == "light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["compared", "none"])
def test_other_pages_are_drawn_and_everybody_can_use_them(chromium: Chromium, which: str, scheme: str) -> None:
    opened = chromium.open(other(which), color_scheme=scheme)

    assert all(opened.drawn(chart) for chart in charts(opened))
    assert violations(opened) == []
    assert (opened.said, len(opened.asked)) == ([], 1)


def test_scenarios_are_sorted_by_what_is_chosen(chromium: Chromium) -> None:
    opened = chromium.open(other("compared"))
    for column in ("scenario", "$/h"):
        opened.page.locator("#scenarios thead button", has_text=column).click()
        names = opened.texts("#scenarios tbody th")
        assert len(names) == 3
        if column == "scenario":
            assert names == sorted(names)
    prices = opened.texts("#scenarios tbody td:nth-child(3)")

    assert [float(price) for price in prices if price] == sorted(float(price) for price in prices if price)


@pytest.mark.parametrize("width", [1200, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_axe_finds_nothing_wrong(chromium: Chromium, name: str, scheme: str, width: int) -> None:
    size = {"width": width, "height": 900}
    opened = chromium.open(page(example(name)[1]), color_scheme=scheme, viewport=size)
    for chart in charts(opened):
        opened.drawn(chart)

    assert violations(opened) == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def test_names_do_nothing_and_are_shown_as_they_are(chromium: Chromium) -> None:
    opened = chromium.open(page(hostile()))
    for chart in charts(opened):
        opened.drawn(chart)

    assert (opened.said, len(opened.asked)) == ([], 1)
    assert opened.page.locator("img").count() == 0
    assert "<img src=x" in opened.texts("#servers tbody th")[0]
    assert "</script><script>" in opened.drawn("starts")


def test_hovering_a_term_shows_its_bytes(chromium: Chromium) -> None:
    plan, own = example("both-in-8-bit")
    opened = chromium.open(page(own))
    opened.drawn("memory")
    box = opened.page.locator("#memory").bounding_box()
    label = opened.page.locator("#memory svg text", has_text=re.compile("^coder$")).bounding_box()
    assert box and label
    opened.page.mouse.move(label["x"] + label["width"] / 2 + 20, label["y"] + label["height"] / 2)

    opened.page.locator("#memory svg text", has_text=f"{plan.server('coder').ledger.weights_bytes:,} bytes").wait_for()
    assert opened.said == []


def test_sorting_by_what_is_free_finds_the_tightest_gpu(chromium: Chromium) -> None:
    plan, own = example("lab-of-mixed-nodes")
    opened = chromium.open(page(own))
    free = opened.page.locator("#gpus thead button", has_text="free")
    free.focus()
    opened.page.keyboard.press("Enter")
    column = 2 + opened.texts("#gpus thead th")[2:].index("free")
    cells = [
        row.locator("td, th").nth(column).locator("small").text_content()
        for row in opened.page.locator("#gpus tbody tr").all()
    ]

    assert [int(text.replace(",", "")) for text in cells] == sorted(gpu.free_bytes for gpu in plan.gpus)
    assert opened.page.locator("#gpus th[aria-sort=ascending]").text_content() == "free"
    free.click()
    assert opened.page.locator("#gpus th[aria-sort=descending]").count() == 1


def test_the_chart_of_memory_can_begin_with_the_tightest(chromium: Chromium) -> None:
    own = example("lab-of-mixed-nodes")[1]
    opened = chromium.open(page(own))
    opened.drawn("memory")
    opened.page.locator("#memory-pager select").select_option("tight")
    labels = [text for text in opened.texts("#memory svg text") if " GPU " in text]

    assert labels == [bar.label for bar in sorted(own.bars, key=lambda bar: bar.free_bytes)][: len(labels)]
    assert labels


def test_many_gpus_are_shown_a_few_at_a_time(chromium: Chromium) -> None:
    opened = chromium.open(page(many_servers(unlike=True)))
    assert opened.page.locator("#servers tbody tr").count() == 1000
    first = opened.drawn("memory")
    assert "1 to 20 of 256" in opened.texts("#memory-pager")[0]
    opened.page.locator("#memory-pager button", has_text="Next").click()

    assert "21 to 40 of 256" in opened.texts("#memory-pager")[0]
    assert opened.drawn("memory") != first
    assert opened.said == []


def test_a_thousand_equal_servers_are_drawn_and_everybody_can_use_them(chromium: Chromium) -> None:
    opened = chromium.open(page(many_servers()))

    assert all(opened.drawn(chart) for chart in charts(opened))
    assert violations(opened) == []
    assert opened.said == []


def test_commands_are_copied(chromium: Chromium) -> None:
    opened = chromium.open(page(example("both-in-8-bit")[1]), permissions=["clipboard-read", "clipboard-write"])
    opened.page.locator("button[data-copy]").first.click()

    opened.page.locator("#said", has_text="Copied.").wait_for()
    assert opened.page.evaluate("navigator.clipboard.readText()") == opened.texts(".command code")[0]


def test_without_scripts_everything_is_there_but_the_charts(chromium: Chromium) -> None:
    with_scripts = chromium.open(page(example("both-in-8-bit")[1]))
    without = chromium.open(page(example("both-in-8-bit")[1]), java_script_enabled=False)

    assert without.texts("td") == with_scripts.texts("td")
    assert not any(place.is_visible() for place in without.page.locator(".chart, .pager, button").all())


def test_paper_has_every_chart_and_light_colours(chromium: Chromium) -> None:
    opened = chromium.open(page(example("both-in-8-bit")[1]), color_scheme="dark")
    opened.page.emulate_media(media="print")
    opened.page.pdf()

    assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert all(opened.page.locator(f"#{chart} svg").count() == 1 for chart in charts(opened))
    assert opened.page.locator("#fleet").is_visible()
