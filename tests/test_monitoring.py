"""The monitoring files: valid for Prometheus, true to the plan, and every rule shown to fire and to stay quiet."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import parsed
import plans
import pytest
from hypothesis import given, settings
from staged import program
from test_artifacts import NAMES, PLANS

from planner.artifacts import render, write
from planner.plan import Plan

CASES = json.loads((Path(__file__).parent / "cases" / "metrics.json").read_text(encoding="utf-8"))["versions"]
NEWEST = "0.33.0"


@pytest.fixture(params=PLANS, scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the tests read and leave as it is."""
    found = tmp_path_factory.mktemp("rendered")
    write(render(PLANS[request.param]), found)
    return found / "monitoring"


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "GOGC": "400"}  # it ends before it needs the memory that it would clear
    return subprocess.run(
        [program("promtool"), *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=60, env=environment,
    )  # fmt: skip


def rules(text: str) -> list[dict[str, Any]]:
    return [rule for group in parsed.one(text)["groups"] for rule in group["rules"]]


def panels(plan: Plan) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(render(plan)["monitoring/dashboard.json"].text)["panels"]
    return found


def expressions(plan: Plan) -> list[str]:
    """Every PromQL expression of the rules and the dashboard."""
    shown = [target["expr"] for panel in panels(plan) for target in panel.get("targets", [])]
    ruled = [rule["expr"] for rule in rules(render(plan)["monitoring/alerts.yml"].text)]
    return [expr.replace("$__rate_interval", "5m") for expr in (*shown, *ruled)]


def test_prometheus_accepts_the_configuration_and_the_rules(folder: Path) -> None:
    result = promtool("check", "config", folder / "prometheus.yml")

    assert result.returncode == 0, result.stdout + result.stderr
    assert "FAILED" not in result.stdout + result.stderr


def test_every_rule_passes_its_cases(folder: Path) -> None:
    result = promtool("test", "rules", folder / "alerts_test.yml")

    assert result.returncode == 0, result.stdout + result.stderr


def test_every_rule_has_a_case_that_fires_and_one_that_does_not(folder: Path) -> None:
    wanted = {
        (rule["alert"], rule["labels"]["server"]) for rule in rules((folder / "alerts.yml").read_text(encoding="utf-8"))
    }
    asked = [
        one
        for case in parsed.one((folder / "alerts_test.yml").read_text(encoding="utf-8"))["tests"]
        for one in case["alert_rule_test"]
    ]
    fires = {(one["alertname"], found["exp_labels"]["server"]) for one in asked for found in one["exp_alerts"]}
    quiet = {one["alertname"] for one in asked if not one["exp_alerts"]}

    assert fires == wanted
    assert quiet == {alert for alert, _ in wanted}


def noticed(plan: Plan, old: str, new: str, folder: Path) -> bool:
    """Whether the cases of the alerts that a change of the rules touches pass before it, and not after it."""
    files = render(plan)
    text, cases = files["monitoring/alerts.yml"].text, parsed.one(files["monitoring/alerts_test.yml"].text)
    before, after = rules(text), rules(text.replace(old, new))
    touched = {one["alert"] for one, other in zip(before, after, strict=True) if one != other}
    assert touched
    for case in cases["tests"]:
        case["alert_rule_test"] = [one for one in case["alert_rule_test"] if one["alertname"] in touched]
    cases |= {"tests": [case for case in cases["tests"] if case["alert_rule_test"]], "rule_files": ["alerts.yml"]}
    (folder / "cases.yml").write_text(json.dumps(cases), encoding="utf-8")

    def passes(changed: list[dict[str, Any]]) -> bool:
        group = {"name": "touched", "rules": [one for one in changed if one["alert"] in touched]}
        (folder / "alerts.yml").write_text(json.dumps({"groups": [group]}), encoding="utf-8")
        return promtool("test", "rules", folder / "cases.yml").returncode == 0

    return passes(before) and not passes(after)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (">= 8 and", ">= 9 and"), ("< 8 and", "< 7 and"), ("> 16384", "> 16386"), ("> 0.95", "> 0.97"),
        ("[30m]) > 2", "[30m]) > 3"), ("for: 2460s", "for: 2580s"), ("for: 2m", "for: 4m"),
        ("generation_tokens_total", "no_such_total"), ("> 0.1", "> 0.2"), ("num_preemptions", "no_preemptions"),
        ("for: 5m", "for: 15m"), ("> 0.05", "> 0.06"), ("> 0.05", "> 0.04"), ("for: 1m", "for: 2m"),
        ("severity: critical", "severity: warning"), ("active_servers", "servers"),
    ],
)  # fmt: skip
def test_the_cases_notice_a_wrong_threshold(old: str, new: str, tmp_path: Path) -> None:
    assert noticed(plans.plan(plans.server("coder")), old, new, tmp_path)


@pytest.mark.parametrize(
    ("old", "new"), [("> 0.6 unless", "> 0.9 unless"), ("> 0.01125", "> 0.001"), ("> 0.6 unless", "> 0.3 unless")]
)
def test_the_cases_notice_a_wrong_time(old: str, new: str, tmp_path: Path) -> None:
    assert noticed(plans.fast(), old, new, tmp_path)


def test_a_server_without_another_of_its_role_is_missed_at_once() -> None:
    found = {
        rule["labels"].get("role", rule["labels"]["server"]): rule["labels"]["severity"]
        for rule in rules(render(plans.many_roles())["monitoring/alerts.yml"].text)
        if rule["alert"] in ("VLLMServerDown", "VLLMRoleDown")
    }

    assert found == {
        "big": "critical", "embed": "critical", "chat-1": "warning", "chat-2": "warning", "chat": "critical",
    }  # fmt: skip


def test_a_role_that_waits_for_its_turn_is_not_missed() -> None:
    missed = {
        rule["labels"]["role"]
        for rule in rules(render(plans.in_turns("stop"))["monitoring/alerts.yml"].text)
        if rule["alert"] == "VLLMRoleDown"
    }

    assert missed == {"embed"}


def test_planned_times_are_lines_on_the_dashboard_and_alerts() -> None:
    limits = {
        panel["title"]: panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"]
        for panel in panels(plans.plan(plans.server("coder", speed=plans.SPEED)))
        if panel["title"].startswith("Time ")
    }
    named = {
        (rule["labels"]["server"], rule["alert"])
        for rule in rules(render(plans.fast())["monitoring/alerts.yml"].text)
        if rule["alert"].endswith("Slow")
    }

    assert (limits["Time to the first token"], limits["Time between tokens"]) == (0.6, 0.01125)
    assert named == {("coder", "VLLMFirstTokenSlow"), ("coder", "VLLMTokensSlow")}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_prometheus_parses_every_expression_of_the_dashboard(tmp_path: Path, plan: Plan) -> None:
    records = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(expressions(plan))]
    path = tmp_path / "panels.yml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": records}]}), encoding="utf-8")
    result = promtool("check", "rules", path)

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("version", CASES)
def test_metrics_exist_in_the_planned_engine_version(version: str) -> None:
    # No option that an older version lacks; a server with a KV cache uses every metric there is a rule or panel for.
    plan = plans.plan(plans.server("coder", kv_cache_memory_bytes=0), engine_version=version)
    used = {name for expr in expressions(plan) for name in re.findall(r"vllm:([a-z0-9_]+)", expr)}

    assert len(used) > 9
    assert {re.sub("_(total|bucket)$", "", name) for name in used} - set(CASES[version]) == set()


def test_scraping_covers_every_server_of_the_plan() -> None:
    job, door = parsed.one(render(plans.many_roles())["monitoring/prometheus.yml"].text)["scrape_configs"]
    found = {
        target["labels"]["server"]: (target["targets"], target["labels"]["gpu"]) for target in job["static_configs"]
    }

    assert (door["job_name"], door["static_configs"]) == (
        "planner-workstation-router",
        [{"targets": ["127.0.0.1:8404"]}],
    )
    assert found == {
        "big": (["127.0.0.1:8001"], "0,1"), "embed": (["127.0.0.1:8002"], "0"),
        "chat-1": (["127.0.0.1:8003"], "0"), "chat-2": (["127.0.0.1:8004"], "1"),
    }  # fmt: skip


def test_the_plans_limits_are_lines_on_the_dashboard() -> None:
    limits: dict[str, list[int]] = {}
    for panel in panels(plans.two_roles()):
        defaults = panel.get("fieldConfig", {}).get("defaults")
        if defaults and defaults["custom"]["thresholdsStyle"]["mode"] == "line":
            limits.setdefault(panel["title"], []).append(defaults["thresholds"]["steps"][-1]["value"])

    assert limits == {"Requests": [8, 8], "KV cache": [149792, 149792], "Tokens a request": [16384, 16384]}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_panels_have_their_own_ids_and_do_not_overlap(plan: Plan) -> None:
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in panels(plan)]
    for panel in panels(plan):
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells

    assert len(set(ids)) == len(ids)


def test_a_server_without_a_kv_cache_has_no_rules_about_one() -> None:
    named = {(rule["labels"]["server"], rule["alert"])
             for rule in rules(render(plans.many_roles())["monitoring/alerts.yml"].text)}  # fmt: skip

    assert ("chat-1", "VLLMKVCacheFull") in named
    assert ("embed", "VLLMDemandAbovePlan") in named
    assert ("embed", "VLLMKVCacheFull") not in named


@settings(max_examples=25, deadline=None)
@given(role=NAMES, fleet=NAMES)
def test_any_name_is_a_label_and_never_an_expression(role: str, fleet: str) -> None:
    """Prometheus and Grafana expand templates in rules, titles and expressions, so those hold slugs only."""
    files = render(plans.plan(plans.server(role), fleet=fleet))
    labels = parsed.one(files["monitoring/prometheus.yml"].text)["scrape_configs"][0]["static_configs"][0]["labels"]

    assert labels["role"] == role
    plain = r"[\w.-]+"
    assert re.fullmatch(plain, labels["server"], re.ASCII)
    for rule in rules(files["monitoring/alerts.yml"].text):
        job = f"planner-{fleet_slug(files)}"
        assert set(re.findall('job="([^"]*)"', rule["expr"])) <= {job, f"{job}-router"}
        assert "{{" not in str(rule)
    dashboard = json.loads(files["monitoring/dashboard.json"].text)
    for text in (dashboard["title"], *(panel["title"] for panel in dashboard["panels"])):
        assert not re.search(r"[$\[\]{}]", text)


def fleet_slug(files: dict[str, Any]) -> str:
    """The fleet's slug, from the name of its systemd target."""
    (target,) = [path for path in files if path.endswith(".target")]
    return target.removeprefix("systemd/planner-").removesuffix(".target")
