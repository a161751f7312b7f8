"""A real Prometheus scrapes the real engine with the rendered files, and the rules fire when they should."""

import json
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plans
import pytest
from proving import ENGINE_VERSION, prepared, tiny
from staged import KEY, Stage, free_ports, program, stage

from planner.artifacts import render

pytestmark = pytest.mark.e2e


class Watched:
    """One running server of a fleet, and the Prometheus that watches it."""

    def __init__(self, staged: Stage, server: str, prometheus: str, process: subprocess.Popen[bytes]) -> None:
        self.staged, self.server, self.prometheus, self.process = staged, server, prometheus, process
        self.dashboard = json.loads((staged.folder / "monitoring" / "dashboard.json").read_text(encoding="utf-8"))

    def ask(self, path: str, **query: str) -> Any:  # noqa: ANN401 - an answer of Prometheus
        url = f"{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return json.load(answer)["data"]

    def firing(self) -> set[str]:
        alerts = self.ask("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def evaluations(self) -> int:
        """How often Prometheus has evaluated the rules: what counts instead of a clock, on a machine of any speed."""
        with urllib.request.urlopen(f"{self.prometheus}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        return sum(int(float(one)) for one in re.findall(r"^prometheus_rule_evaluations_total\S* (\S+)$", text, re.M))

    def wait_for(self, alert: str) -> None:
        most = self.evaluations() + 40 * len(self.ask("rules")["groups"][0]["rules"])
        while alert not in self.firing():
            assert self.evaluations() < most, f"{alert} does not fire; firing are {self.firing()}"
            time.sleep(1)

    def complete(self, tokens: int) -> None:
        body = json.dumps({"model": "coder", "prompt": "x " * 20, "max_tokens": tokens, "ignore_eos": True}).encode()
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        with urllib.request.urlopen(
            urllib.request.Request(f"{self.server}/v1/completions", body, headers), timeout=120
        ) as answer:
            answer.read()


def hurried(text: str) -> str:
    """The rules with every wait cut to seconds, and the configuration with a scrape every three: nothing else.

    A scrape may take as long as the time to the next: on a busy machine one second is too little, and a scrape that is
    missing begins every wait again.
    """
    return re.sub(r"for: (2m|10m)$", "for: 5s", text, flags=re.M).replace("15s", "3s")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("prometheus")
    port, own = free_ports(2)
    plan = plans.plan(tiny("coder", prepared() / "models", port, max_num_seqs=2), engine_version=ENGINE_VERSION)
    staged = stage(plan, folder)
    staged.environment["PATH"] = f"{prepared() / 'vllm' / 'bin'}:{staged.environment['PATH']}"
    for name in ("prometheus.yml", "alerts.yml"):
        (folder / name).write_text(hurried(render(plan)[f"monitoring/{name}"].text), encoding="utf-8")
    result = staged.run("launch.sh", "up", timeout=600)
    command = [
        program("prometheus"), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{own}",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            assert result.returncode == 0, result.stderr
            yield Watched(staged, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{own}", process)
        finally:
            process.send_signal(signal.SIGTERM)
            staged.run("launch.sh", "down", timeout=200)


def test_nothing_fires_while_all_is_well(watched: Watched) -> None:
    while True:
        try:
            if [one["value"][1] for one in watched.ask("query", query="up")["result"]] == ["1"]:
                break
        except urllib.error.URLError:
            assert watched.process.poll() is None, "Prometheus has ended"
        else:
            scraped = watched.ask("targets")["activeTargets"]
            assert all("refused" not in one["lastError"] for one in scraped), "Prometheus does not reach the engine"
        time.sleep(1)
    watched.complete(8)
    time.sleep(15)

    assert watched.firing() == set()


def test_more_demand_than_planned_fires_and_every_panel_shows_something(watched: Watched) -> None:
    enough = threading.Event()

    def load() -> None:
        while not enough.is_set():
            watched.complete(300)

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    empty = []
    try:
        watched.wait_for("VLLMDemandAbovePlan")
        for panel in watched.dashboard["panels"]:
            for target in panel.get("targets", []):
                expr = target["expr"].replace("$__rate_interval", "20s")
                if not watched.ask("query", query=expr)["result"]:
                    empty.append(panel["title"])
    finally:
        enough.set()
        for thread in threads:
            thread.join()

    assert empty == []


def test_a_killed_server_fires(watched: Watched) -> None:
    watched.staged.run("launch.sh", "down", timeout=200)

    watched.wait_for("VLLMServerDown")


def test_the_rules_are_the_rendered_ones(tmp_path: Path) -> None:
    """What was hurried is the waiting alone."""
    text = render(plans.two_roles())["monitoring/alerts.yml"].text
    changed = [(old, new) for old, new in zip(text.splitlines(), hurried(text).splitlines(), strict=True) if old != new]

    assert changed
    assert all(re.fullmatch(r" +for: (2|10)m", old) and new.strip() == "for: 5s" for old, new in changed)
