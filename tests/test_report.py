"""planner report: one HTML file that holds every figure of the plan, asks for nothing, and lets no name become HTML."""

import base64
import hashlib
import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from plans import many_roles, server, two_nodes
from plans import plan as planned

from planner.catalog import load_catalog
from planner.cli import main
from planner.cli.lock import changed
from planner.explain import accuracy, reasons
from planner.explain.speed_text import speed_unsaid
from planner.fleet import load_fleet
from planner.plain_data import as_dict
from planner.plan import Plan, plan_from_yaml
from planner.report import Fault, View, page, view
from planner.report.alternatives import Alternatives, Served, alternatives
from planner.report.glance import glance
from planner.report.memory import gpu_bars
from planner.report.servers import server_rows
from planner.report.starts import start_rows, starts
from planner.units import GIB

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "both-in-8-bit"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


class Page(HTMLParser):
    """What a browser would make of a page: its elements, the rows of every table, and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self._open[-2:]):
            self.rows[-1][-1] += data
        elif self._open and self._open[-1] == "script":
            self.scripts[-1] += data


@cache
def example() -> tuple[Plan, View]:
    catalog = load_catalog()
    plan = plan_from_yaml(EXAMPLE / "plan.yaml")
    fleet = load_fleet(EXAMPLE / "fleet.yaml", catalog)
    texts = ((EXAMPLE / name).read_text(encoding="utf-8") for name in ("fleet.yaml", "plan.yaml"))
    return plan, view(plan, fleet, catalog, *texts, changed=changed(plan, fleet, catalog))


def hostile() -> View:
    """The example with a name, a checkpoint and a fleet that would like to be HTML."""
    _, own = example()
    text = {
        name: f"{getattr(own, name)}{HOSTILE}" for name in ("title", "headline", "reasons", "fleet_text", "plan_text")
    }
    return replace(
        own,
        **text,
        servers=tuple(
            replace(row, name=HOSTILE, server=replace(row.server, repository=HOSTILE)) for row in own.servers
        ),
        bars=gpu_bars(planned(server(HOSTILE))),
        curves=tuple(replace(one, role=HOSTILE, server=HOSTILE) for one in own.curves),
        starts=tuple(replace(one, name=HOSTILE, after=HOSTILE) for one in own.starts),
        glance=tuple(replace(one, question=HOSTILE, text=HOSTILE) for one in own.glance),
        later=HOSTILE,
        nodes=HOSTILE,
        alternatives=Alternatives(
            rows=(Served(role=HOSTILE, which=HOSTILE, checkpoint=HOSTILE, note=HOSTILE),), loss=HOSTILE
        ),
        notes=(HOSTILE,),
        turns=HOSTILE,
        pins=((HOSTILE, HOSTILE),),
        faults=(Fault(roles=(HOSTILE,), account=HOSTILE, serious=True),),
        commands=(HOSTILE,),
        sources=tuple(replace(one, source=HOSTILE) for one in own.sources),
    )


def thousand(*, unlike: bool = False) -> Plan:
    """A thousand servers of one role on 32 nodes with 8 GPUs each, equal or each with figures of its own."""
    like = server("s")
    return planned(
        *(
            server(
                f"s-{i}",
                gpu_indices=(i % 8,),
                node=f"n-{i // 32:03}",
                port=8001 + i,
                role="chat",
                max_num_seqs=1 + i * unlike,
                ledger=replace(like.ledger, margin_bytes=GIB - i * unlike),
            )
            for i in range(1000)
        )
    )


def many_servers(*, unlike: bool = False) -> View:
    """The page of these servers."""
    own = thousand(unlike=unlike)
    _, like = example()
    return replace(
        like,
        servers=tuple(server_rows(own)),
        bars=gpu_bars(own),
        starts=tuple(start_rows(own, starts(own))),
        plan_text=None,
    )


def test_the_parts_of_every_gpu_add_up_to_its_total() -> None:
    for plan in (example()[0], many_roles()):
        for bar in gpu_bars(plan):
            assert all(sum(share.terms) == share.total_bytes for share in bar.shares)
            taken = sum(share.total_bytes for share in bar.shares)
            assert taken + sum(one.bytes for one in bar.rest) == bar.total_bytes


def test_guarantees_of_the_plan_lie_on_the_curves() -> None:
    plan, own = example()
    for curve in own.curves:
        told = plan.server(curve.server)
        held = {point.tokens: point.requests for point in curve.held}
        last = curve.paces[-1]
        assert held[told.request_tokens] == told.concurrency_request
        assert held[told.max_model_len] == told.concurrency_full_context
        assert told.speed is not None
        assert (last.requests, last.tpot_us, last.ttft_us, last.output_millitokens_per_second) == (
            told.requests, told.speed.tpot_us, told.speed.ttft_us, told.speed.output_millitokens_per_second,
        )  # fmt: skip


def test_more_of_one_is_never_more_of_the_other() -> None:
    for curve in example()[1].curves:
        requests = [point.requests for point in curve.held]
        assert requests == sorted(requests, reverse=True)


def test_a_server_starts_when_those_before_it_on_its_gpu_answer() -> None:
    first, second = starts(example()[0])

    assert (first.begin_seconds, second.after) == (0, (first.server,))
    assert second.begin_seconds == first.end_seconds < second.end_seconds
    assert second.later_begin_seconds == first.later_end_seconds <= first.end_seconds


def test_the_parts_of_a_server_on_two_nodes_answer_together_after_what_one_of_them_waits_for() -> None:
    before = server("before", node="box-2", gpu_indices=(1,), port=8003)
    large, small = (two_nodes().server(name) for name in ("large", "small"))
    found = {(one.server, one.node): one for one in starts(planned(before, large, small))}
    first, second = found["large", "box-1"], found["large", "box-2"]

    assert (first.begin_seconds, first.after) == (0, ())
    assert (second.begin_seconds, second.after) == (found["before", "box-2"].end_seconds, ("before",))
    assert first.end_seconds == second.end_seconds > second.begin_seconds
    assert found["small", "box-2"].begin_seconds == second.end_seconds


def test_servers_of_different_gpus_start_at_once() -> None:
    plan = planned(
        server("a"), server("b", gpu_indices=(1,), port=8002), server("c", port=8003), server("d", gpu_indices=(1,))
    )
    rows = tuple(start_rows(plan, starts(plan)))

    assert [(one.name, one.order, one.after) for one in rows] == [
        ("a", 1, ""),
        ("b", 1, ""),
        ("c", 2, "a"),
        ("d", 2, "b"),
    ]
    assert rows[0].begin_seconds == rows[1].begin_seconds == 0
    told = {one.question: one.text for one in glance(gpu_bars(plan), (), rows)}
    assert told["Start order"] == "a, b at once; c after a; d after b"


def test_equal_servers_of_a_large_plan_are_one_row() -> None:
    plan, own = thousand(), many_servers()
    text = page(own)

    assert len(text) <= 1_000_000
    assert [(one.name, one.where, one.ports) for one in own.servers] == [
        ("s-0 to 999", "256 GPUs of 32 nodes", "8001 to 9000")
    ]
    assert sum(bar.count for bar in own.bars) == len(plan.gpus)
    assert [one.server for bar in own.bars for one in bar.shares][:1] == ["chat, 248 servers"]
    assert {one.order for one in own.starts} == {1, 2, 3, 4}
    assert len(own.starts) == 4


def test_servers_of_a_large_plan_that_are_not_equal_have_rows_of_their_own() -> None:
    assert sorted(row.server.max_num_seqs for row in many_servers(unlike=True).servers) == list(range(1, 1001))


def test_a_further_token_costs_what_the_curve_rises_by() -> None:
    for curve in example()[1].curves:
        held = {point.tokens: point.bytes for point in curve.held}
        half = curve.max_model_len // 2
        assert held[curve.max_model_len] - held[half] == half * curve.token_bytes


def test_what_else_could_be_served_is_told_beside_the_plan() -> None:
    plan = plan_from_yaml(ROOT / "examples" / "lab-of-mixed-nodes" / "plan.yaml")
    found = alternatives(plan)
    told = {(one.which, one.role, one.checkpoint, one.requests) for one in found.rows}

    assert plan.runner_up
    assert plan.close_calls
    for which, own in (("this plan", plan.servers), ("next best", plan.runner_up.servers)):
        for one in own:
            assert {
                (name, one.role, one.repository, one.requests) for name in (which, "this plan and next best")
            } & told
    assert {("close call", one.role, one.repository, None) for one in plan.close_calls} <= told
    assert found.loss in reasons(plan)
    assert found.loss not in reasons(plan, alternatives=False)


def test_a_role_without_a_speed_says_why() -> None:
    assert speed_unsaid(server("find", pooling=True)) == "it generates no tokens"
    assert "roles.coder.request" in speed_unsaid(server("coder"))
    for own in example()[1].curves:
        assert bool(own.paces) != bool(own.no_pace)


def amount(value_bytes: int) -> str:
    """An amount of memory as a cell has it: GiB, and below it the bytes."""
    return f"{value_bytes / GIB:.2f}{value_bytes:,}"


def test_tables_hold_the_figures_of_the_plan() -> None:
    plan, own = example()
    rows = Page(page(own)).rows
    for one in plan.servers:
        assert [one.name, one.repository, one.scheme] in [row[:3] for row in rows]
        assert [one.name, str(one.port), one.kv_cache_dtype, f"{one.max_model_len:,}"] in [row[:4] for row in rows]
        told = next(row for row in rows if row[1:2] == [one.name] and len(row) == 10)
        assert told[2:-1] == [amount(getattr(one.ledger, name)) for name in one.ledger.__struct_fields__]
    assert any(row[-2:] == [amount(plan.gpus[0].free_bytes), amount(plan.gpus[0].total_bytes)] for row in rows)


def test_charts_are_drawn_from_the_same_data() -> None:
    own = example()[1]
    data = json.loads(Page(page(own)).scripts[0])

    assert data["bars"] == json.loads(json.dumps([as_dict(bar) for bar in own.bars]))
    assert data["curves"] == json.loads(json.dumps([as_dict(curve) for curve in own.curves]))


def test_names_never_become_html() -> None:
    tame, wild = Page(page(example()[1])), Page(page(hostile()))

    assert {tag for tag, _ in wild.elements} <= {tag for tag, _ in tame.elements}
    assert len(wild.scripts) == len(tame.scripts) == 3
    assert wild.scripts[1:] == tame.scripts[1:]
    assert not [name for _, attributes in wild.elements for name in attributes if name.startswith("on")]
    assert any(HOSTILE in row for row in wild.rows)
    assert HOSTILE in {share["server"] for bar in json.loads(wild.scripts[0])["bars"] for share in bar["shares"]}


def test_nothing_is_loaded_and_only_the_shipped_scripts_run() -> None:
    found = Page(page(example()[1]))
    policy = next(own["content"] for tag, own in found.elements if tag == "meta" and "http-equiv" in own) or ""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found.scripts[1:]]

    assert policy.startswith("default-src 'none';")
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes
    assert not [own for tag, own in found.elements if {"src", "srcset", "action"} & own.keys()]
    assert all((own.get("href") or "#").startswith("#") for _, own in found.elements)


def test_the_library_is_the_release_that_the_docs_name() -> None:
    shipped = (ROOT / "templates" / "report" / "echarts.common.min.js").read_bytes()
    told = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")

    assert f"`{hashlib.sha256(shipped).hexdigest()}`" in told
    release = re.search(rb't\.version="([0-9.]+)"', shipped)
    assert release is not None
    assert f"Apache ECharts](https://echarts.apache.org/) {release[1].decode()} " in told


def test_what_is_drawn_is_named_and_tabled() -> None:
    found = Page(page(example()[1]))
    ids = [own["id"] for _, own in found.elements if "id" in own]
    charts = [own for _, own in found.elements if own.get("class") == "chart"]

    assert len(ids) == len(set(ids))
    assert all(own["role"] == "img" and own["aria-label"] for own in charts)
    assert {own["aria-labelledby"] for tag, own in found.elements if tag == "section"} <= set(ids)
    assert ("html", {"lang": "en"}) in found.elements


@pytest.fixture
def written(tmp_path: Path) -> list[bytes]:
    """The page of the example, written twice."""
    for name in ("one.html", "two.html"):
        arguments = ["report", str(EXAMPLE / "plan.yaml"), "--out", str(tmp_path / name)]
        result = CliRunner(catch_exceptions=False).invoke(main, arguments, prog_name="planner")
        assert result.exit_code == 0, result.output
    return [(tmp_path / name).read_bytes() for name in ("one.html", "two.html")]


def test_the_command_writes_the_same_small_file_again(written: list[bytes]) -> None:
    assert written[0] == written[1] == page(example()[1]).encode()
    assert len(written[0]) <= 1_500_000


def test_a_plan_of_another_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    text = (EXAMPLE / "plan.yaml").read_text(encoding="utf-8")
    other = tmp_path / "plan.yaml"
    other.write_text(re.sub(r"^schema: \d+$", "schema: 999", text, flags=re.M), encoding="utf-8")
    arguments = ["report", str(other), "--out", str(tmp_path / "report.html")]
    result = CliRunner().invoke(main, arguments, prog_name="planner")

    assert result.exit_code == 1
    assert "a newer planner wrote this plan: its schema is 999" in result.output
    assert "planner solve --fresh" in result.output
    assert not (tmp_path / "report.html").exists()


def test_what_is_asked_first_is_answered_first() -> None:
    plan, own = example()
    told = {one.question: one.text for one in own.glance}

    assert told["Tightest GPU"] == "GPU 0: 2.24 GiB free of 94.97 GiB"
    assert told["Start order"] == ", then ".join(plan.start_order)
    for role in ("coder", "general"):
        one = plan.server(role)
        assert f"{one.concurrency_request} fit at once" in told[f"Context of {role}"]
        assert f"{one.concurrency_full_context} fit at once" in told[f"Context of {role}"]
        assert f"with {one.requests} requests running" in told[f"Speed of {role}"]


def test_one_request_of_the_full_context_fits_as_often_as_the_plan_says() -> None:
    plan, own = example()
    for curve in own.curves:
        full = curve.held[-1]
        cache = plan.server(curve.server).kv_cache_memory_bytes
        assert full.requests * full.bytes <= cache < (full.requests + 1) * full.bytes


def test_servers_that_wait_for_their_turn_are_named() -> None:
    folder, catalog = ROOT / "examples" / "desk-in-turns", load_catalog()
    plan = plan_from_yaml(folder / "plan.yaml")
    own = view(plan, load_fleet(folder / "fleet.yaml", catalog), catalog, "", "")

    assert {own.later, *(one.name for one in own.starts)} == {one.name for one in plan.servers}
    assert own.later == "writer"
    assert own.turns in page(own).replace("&#39;", "'")


def test_a_plan_that_is_old_says_so_on_its_page() -> None:
    plan, own = example()
    catalog = load_catalog()
    fleet = load_fleet(EXAMPLE / "fleet.yaml", catalog)
    old = view(plan, fleet, catalog, own.fleet_text, own.plan_text or "", changed=("fleet", "catalog"))

    assert "the fleet and catalog have changed since this plan was made" in old.notes[0]
    assert old.notes[0].replace("`", "") in page(old).replace("`", "")


def test_every_kind_of_figure_has_a_source() -> None:
    plan, own = example()
    told = {one.what: one.source for one in own.sources}

    assert all(one.source for one in own.sources)
    for role in ("coder", "general"):
        assert plan.server(role).revision in told[f"{role}: weights"]
        assert told[f"{role}: score"] == plan.server(role).accuracy.score_source
    assert f"vllm {plan.engine_version}" in told["KV cache, context"]
    assert told["RTX PRO 6000 Blackwell Workstation: memory"]


def test_the_servers_say_how_accurate_they_are() -> None:
    plan, own = example()
    rows = Page(page(own)).rows

    for one in plan.servers:
        assert any(row[:1] == [one.name] and accuracy(one.accuracy) in row for row in rows)
