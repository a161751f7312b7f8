"""Roles that take turns: the very commands of the rendered files, with two real engines on CPU, in every order.

The CPU has no sleep mode: the engine refuses the option for it, and frees no memory. What is asked of it is there all
the same, so the commands of servers that sleep run without that one option, which shows everything but the memory.
"""

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from fleets import catalog, fleet
from msgspec.structs import replace
from proving import ENGINE_VERSION, prepared, real_stage
from staged import Stage, free_ports
from swapping import Swap, end_sleepers

from planner import explain
from planner.engine.switching import Span
from planner.fleet import Fleet
from planner.plan import NoPlan, Plan
from planner.solve import solve_and_check

pytestmark = pytest.mark.e2e

ROLES = ("coder", "general")
TOKENS = 600
WITHOUT_OPTION = """#!/bin/bash
arguments=()
for word in "$@"; do [[ "${word}" == --enable-sleep-mode ]] || arguments+=("${word}"); done
exec "@ENGINE@" "${arguments[@]}"
"""


def desk(**changes: Any) -> Fleet:  # noqa: ANN401 - any key of a fleet
    """Two tiny models, and so little of a GPU left that they do not fit together."""
    models = prepared() / "models"
    size = {"context": "2k", "concurrency": 128, "request": {"prompt_tokens": 512, "output_tokens": "1k"}}
    roles = {
        name: {"task": task, "models": [str(models / f"tiny {name}")], **size}
        for name, task in zip(ROLES, ("code", "general"), strict=True)
    }
    gpu = {"name": "RTX 4090", "memory_in_use": "20.5GiB", "host_memory": "8GiB"}
    engine = {"name": "vllm", "version": ENGINE_VERSION}
    return fleet(copied({"name": "desk", "engine": engine, "gpu": gpu, "roles": roles, **changes}))


def copied(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document in which nothing is the same object twice, which YAML would write as an alias."""
    return json.loads(json.dumps(document))  # type: ignore[no-any-return]


def in_turns(how: str) -> Plan:
    found = solve_and_check(desk(time_share=[list(ROLES)], between_turns=how), catalog())
    assert isinstance(found, Plan)
    ports = free_ports(len(found.servers))
    return replace(
        found, servers=tuple(replace(one, port=port) for one, port in zip(found.servers, ports, strict=True))
    )


def staged_desk(plan: Plan, folder: Path) -> Stage:
    gpu = {"FAKE_GPU_NAME": plan.gpus[0].product, "FAKE_GPU_FREE_MIB": "2000"}
    staged = real_stage(plan, folder, VLLM_CACHE_ROOT=str(prepared() / "cache"), **gpu)
    wrapper = folder / "bin" / "vllm"
    wrapper.parent.mkdir()
    wrapper.write_text(WITHOUT_OPTION.replace("@ENGINE@", str(prepared() / "vllm" / "bin" / "vllm")), encoding="utf-8")
    wrapper.chmod(0o755)
    staged.environment["PATH"] = f"{wrapper.parent}:{staged.environment['PATH']}"
    return staged


class Streams:
    """Four answers that a server is in the middle of."""

    def __init__(self, base: str, role: str, key: str | None = None) -> None:
        self.pool = ThreadPoolExecutor(4)
        begun = Barrier(5, timeout=120)
        self.answers = [self.pool.submit(self._ask, base, role, key, begun) for _ in range(4)]
        begun.wait()

    def _ask(self, base: str, role: str, key: str | None, begun: Barrier) -> list[bytes]:
        asked = {"model": role, "prompt": "a", "max_tokens": TOKENS, "ignore_eos": True, "stream": True}
        body = json.dumps({**asked, "stream_options": {"include_usage": True}}).encode()
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        with urllib.request.urlopen(
            urllib.request.Request(f"{base}/v1/completions", body, headers), timeout=120
        ) as answer:
            lines = [answer.readline()]
            begun.wait()
            return lines + list(answer)

    def whole(self) -> bool:
        """Whether every answer came to its end."""
        with self.pool:
            ends = [answer.result(timeout=120) for answer in self.answers]
        said = f'"completion_tokens":{TOKENS}'.encode()
        return all(
            b"data: [DONE]\n" in lines and any(said in line.replace(b" ", b"") for line in lines) for lines in ends
        )


def left_of(session: int) -> list[str]:
    """Return the processes of a session: a start has one of its own."""
    found = subprocess.run(["ps", "-eo", "sid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    lines = [line.split(maxsplit=2) for line in found.splitlines()]
    return [args for sid, state, args in lines if int(sid) == session and not state.startswith("Z")]


def within(seconds: float, planned: Span) -> bool:
    return planned.low_ms <= 1000 * seconds <= planned.high_ms


def test_what_does_not_fit_together_fits_in_turns_and_says_what_a_change_costs() -> None:
    assert isinstance(solve_and_check(desk(), catalog()), NoPlan)

    stopped, asleep = in_turns("stop"), in_turns("sleep")

    assert "a change from coder to general takes " in explain.turns(stopped)
    assert "of the machine's memory" in explain.turns(asleep)
    assert stopped.host_bytes == 0 < asleep.host_bytes


def test_llama_swap_stops_one_and_starts_the_other(tmp_path: Path) -> None:
    """From each to the other: who goes finishes its answers and leaves nothing, and a change takes what was planned."""
    plan = in_turns("stop")
    staged = staged_desk(plan, tmp_path)
    asleep = plan.server("coder").asleep
    assert asleep
    order = ["coder", "general", "coder"]
    awake: Swap | None = None
    try:
        for role in order:
            begun = time.monotonic()
            awake = Swap(staged, role, seconds=900)
            entered = time.monotonic() - begun
            streams, begun = Streams(awake.proxy, role), time.monotonic()
            code = awake.stop()
            left = time.monotonic() - begun

            assert code == 143
            assert streams.whole()
            assert not left_of(awake.process.pid)
            assert within(left, asleep.leave), left
        assert within(entered, asleep.enter), entered  # the last finds compiled what it needs
    finally:
        if awake and awake.process.poll() is None:
            awake.stop()


@pytest.mark.parametrize("how", ["sleep", "sleep-2"])
def test_llama_swap_puts_one_to_sleep_and_wakes_the_other(how: str, tmp_path: Path) -> None:
    """Every order twice: a start, then only wakes. Who sleeps stays, and says the same when it wakes."""
    plan = in_turns(how)
    staged = staged_desk(plan, tmp_path)
    said: dict[str, set[str]] = {role: set() for role in ROLES}
    processes: dict[str, set[str]] = {role: set() for role in ROLES}
    try:
        for role in [role for order in permutations(ROLES) for role in order] * 2:
            awake = Swap(staged, role, seconds=900)
            processes[role].add((staged.folder / "run" / f"{role}.sleeper").read_text(encoding="utf-8"))
            said[role].add(answer(awake.proxy, role))
            streams = Streams(awake.proxy, role)

            assert awake.stop() == 0
            assert streams.whole()
            assert sleeping(awake.proxy)
    finally:
        end_sleepers(staged, *ROLES)

    assert all(len(found) == 1 for found in (*processes.values(), *said.values()))


@pytest.mark.parametrize("how", ["stop", "sleep", "sleep-2"])
def test_the_script_gives_each_its_turn(how: str, tmp_path: Path) -> None:
    """turns.sh and launch.sh: what the answers are that were under way, and who answers afterwards."""
    plan = in_turns(how)
    staged = staged_desk(plan, tmp_path)
    bases = {role: f"http://127.0.0.1:{plan.server(role).port}" for role in ROLES}
    key = staged.environment["VLLM_API_KEY"]
    try:
        up = staged.run("launch.sh", "up", timeout=1800)
        assert up.returncode == 0, up.stderr
        for leaving, entering in [("coder", "general"), ("general", "coder")]:
            streams = Streams(bases[leaving], leaving, key)
            turn = staged.run("turns.sh", "script", entering, timeout=1800)

            assert turn.returncode == 0, turn.stderr
            assert streams.whole()
            assert answer(bases[entering], entering, key)
            smoke = staged.run("smoke.sh", timeout=300).stdout
            assert smoke.count("not its turn now") == 1
            assert f"{entering:20} completion of 8 tokens" in smoke
    finally:
        staged.run("launch.sh", "down", timeout=200)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    found = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=True).stdout
    assert f"bin/vllm serve {prepared() / 'models'}" not in found


def answer(base: str, role: str, key: str | None = None) -> str:
    asked = {"model": role, "prompt": "One, two,", "max_tokens": 16, "temperature": 0}
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(f"{base}/v1/completions", json.dumps(asked).encode(), headers)
    with urllib.request.urlopen(request, timeout=120) as found:
        text: str = json.loads(found.read())["choices"][0]["text"]
    return text


def sleeping(base: str) -> bool:
    with urllib.request.urlopen(f"{base}/is_sleeping", timeout=20) as found:
        return bool(json.loads(found.read())["is_sleeping"])
