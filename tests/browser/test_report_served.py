"""The sliders of planner report --serve in a real browser: what they show is what solve says."""

import threading
from collections.abc import Iterator

import pytest
from browsing import Chromium, Opened, started
from test_report import EXAMPLE, example
from test_report_page import charts, violations

import planner
from planner.catalog import load_catalog
from planner.fleet import Edit, Scenario, load_fleet, read_fleet
from planner.fleet.scenario import fleets
from planner.plan import Plan
from planner.report.asked import controls
from planner.report.server import Server
from planner.report.session import Session
from planner.search.budget import BUDGET

pytestmark = pytest.mark.e2e

FLEET = EXAMPLE / "fleet.yaml"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    catalog = load_catalog()
    allowed = controls(load_fleet(FLEET, catalog), catalog)
    session = Session(written=read_fleet(FLEET), catalog=catalog, controls=allowed, budget=BUDGET)
    with Server(session, example()[1]) as server, started(tmp_path_factory.mktemp("pages")) as chromium:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield visit(chromium, server)
        server.shutdown()
        thread.join()


def visit(chromium: Chromium, server: Server) -> Opened:
    found = chromium.visit(server.url)
    found.drawn("memory")
    return found


def solved(*edits: Edit) -> Plan:
    catalog = load_catalog()
    (fleet,) = fleets(read_fleet(FLEET), (Scenario(edits),), catalog)
    found = planner.solve(fleet, catalog)
    assert isinstance(found, Plan)
    return found


def ledger(opened: Opened, role: str) -> list[int]:
    """The bytes of a server's terms as the table has them."""
    row = opened.page.locator("#ledgers tbody tr", has=opened.page.get_by_role("cell", name=role, exact=True))
    return [int(text.replace(",", "")) for text in row.locator("small").all_text_contents()]


def settle(opened: Opened) -> None:
    opened.page.locator("form[aria-busy=true]").wait_for()
    opened.page.locator("form[aria-busy=false]").wait_for()


def test_dragging_context_shows_what_solve_says(opened: Opened) -> None:
    slider = opened.page.locator("fieldset[data-role=coder] input[name=context]")
    before = ledger(opened, "coder")
    slider.fill("16384")
    settle(opened)
    plan = solved(Edit("--set", "roles.coder.context=16384"))
    own = plan.server("coder").ledger

    assert ledger(opened, "coder")[-1] == own.total_bytes
    assert ledger(opened, "coder")[2] == own.kv_cache_bytes
    assert opened.page.locator("fieldset[data-role=coder] output").first.text_content() == "16,384 tokens"
    assert opened.drawn("held-0")
    slider.press("ArrowLeft")
    settle(opened)
    assert "15,360 tokens" in opened.texts("fieldset[data-role=coder] output")
    opened.page.get_by_role("button", name="As in the fleet").click()
    settle(opened)
    assert ledger(opened, "coder") == before


def test_another_gpu_and_too_little_of_it(opened: Opened) -> None:
    opened.page.locator("select[name=gpu]").select_option("RTX 3060 12GB")
    settle(opened)
    assert opened.drawn("needs")
    assert "no plan exists for" in opened.texts("#told")[0]
    opened.page.locator("input[name=count]").fill("2")
    opened.page.locator("select[name=gpu]").select_option("L40S")
    settle(opened)
    opened.page.locator("#told", has_text="proven best").wait_for()

    assert opened.texts("#gpus tbody th") == [f"GPU {gpu.index}" for gpu in solved(Edit("--gpu", "L40S:2")).gpus]


def test_everybody_can_use_it_and_it_asks_nobody_else(opened: Opened) -> None:
    for chart in charts(opened):
        opened.drawn(chart)

    assert violations(opened) == []
    assert opened.said == []
    assert len({url.split("/")[2] for url in opened.asked}) == 1
