"""Progress and Ctrl-C: shown on a terminal only, changing no answer, and ending a search with the best plan so far."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
import yaml
from fleets import PAIR, catalog, fleet
from hypothesis import given, settings
from msgspec.structs import replace
from problems import Planted, many_gpus
from staged import wait_until

from benchmarks.solver.fleets import fleet as random_problem
from planner.check import check
from planner.cli.progress import progress, watched
from planner.fleet import load_fleet
from planner.plan import plan_from_yaml
from planner.search.optimise import optimise
from planner.search.watch import Watch, step, stopped, watched_by
from planner.solve import BudgetSpent

ROOT = Path(__file__).resolve().parent.parent
MODELS = ["Mistral-7B-Instruct-v0.3", "Qwen2.5-14B-Instruct", "Qwen2.5-7B-Instruct", "Qwen2.5-32B-Instruct"]
LONG = {
    "name": "long",
    "engine": {"version": "0.33.0"},
    "nodes": {"node": {"gpu": "L40S", "gpus": 4}},
    "roles": {
        f"r{i}": {
            "task": "general",
            "models": MODELS[i % 2 : i % 2 + 3],
            "context": {"min": "8k", "wish": "32k"},
            "concurrency": {"min": 3 + i % 5, "target": 37 + 5 * i},
            "request": {"prompt_tokens": f"{3 + i % 3}k", "output_tokens": "1k"},
            "weight": 1 + i % 4,
        }
        for i in range(7)
    },
}
"""Seven roles on four GPUs, which takes minutes to prove."""
IMPROVING = r"stage 1 of \d, balanced: the best so far, and up to"


@settings(max_examples=30, deadline=None)
@given(many_gpus())
def test_watching_changes_no_answer(case: Planted) -> None:
    with watched_by(Watch()):
        seen = optimise(case.problem)

    assert seen == optimise(case.problem)


def test_watching_changes_no_answer_of_a_larger_fleet() -> None:
    problem, _ = random_problem(6, 80, 8, 1)
    watch = Watch()
    with watched_by(watch):
        seen = optimise(problem)

    assert seen == optimise(problem)
    assert watch.stage


def test_after_a_stop_there_is_what_takes_no_search() -> None:
    problem, _ = random_problem(2, 40, 1, 1)
    watch = Watch()
    watch.stop()
    with watched_by(watch):
        answer = optimise(problem)
    assert not stopped()
    assert answer is not None
    assert answer.interrupted
    assert answer.stages[0].value < answer.stages[0].bound


def test_progress_in_words() -> None:
    names = ("balanced", "cost", "context", "headroom")
    cost = Watch(stage="cost", value=-2_500_000, bound=-1_250_000)

    def said(watch: Watch, *, priced: bool = True) -> str:
        return progress(watch, names, priced=priced)

    assert said(Watch()) == "preparing"
    assert said(Watch(task="a first plan", step="options of r1, role 1 of 2")) == (
        "a first plan: options of r1, role 1 of 2"
    )
    assert said(Watch(stage="headroom")) == "stage 4 of 4, headroom"
    assert said(Watch(stage="order of r1", value=-3)) == "settling the order of r1"
    assert said(Watch(task="point 3", stage="score", value=1_415_000)) == "point 3: score: a plan is found"
    assert said(Watch(stage="balanced", value=2_000_000, bound=2_101_000)) == (
        "stage 1 of 4, balanced: the best so far, and up to 5.1 % more may be possible"
    )
    assert said(cost) == "stage 2 of 4, cost 2.5 $/h, at least 1.25 $/h"
    counted = replace(cost, value=-3, bound=-1)
    assert said(counted, priced=False) == "stage 2 of 4, GPUs in use 3 GPUs, at least 1 GPU"


def test_steps_are_named_within_a_second_on_a_terminal_and_with_v_everywhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> str:
        step("options of chat, role 1 of 1")
        time.sleep(0.9)
        return "a plan"

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with click.Context(click.Command("solve")) as context:
        context.meta["planner.verbose"] = True
        assert watched(fleet(PAIR), work) == "a plan"
    told = capsys.readouterr().err

    assert re.search(r"^ *\d+\.\d s  options of chat, role 1 of 1$", told, re.M)
    assert "1 s  options of chat, role 1 of 1  (Ctrl-C" in told
    assert told.endswith("\r\x1b[K")


def test_ctrl_c_before_there_is_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        while not stopped():
            time.sleep(0.01)
        time.sleep(0.5)  # as a search that has to come to an end first
        raise BudgetSpent(60)

    with pytest.raises(SystemExit) as error:
        watched(fleet(PAIR), work)

    assert error.value.code == 130
    assert capsys.readouterr().err == (
        "  hint: interrupted: taking the best plan found so far; once more ends at once\n"
        "interrupted before a plan was found\n"
    )


OWN_PROGRAM = """
from benchmarks.solver.fleets import fleet
from planner.search.optimise import optimise

problem, _ = fleet(50, 300, 64, 1)
print("begins", flush=True)
optimise(problem)
"""


def test_ctrl_c_in_a_program_of_ones_own_is_what_it_always_is() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWN_PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "begins\n"
        threads = Path(f"/proc/{process.pid}/task")
        before = len(list(threads.iterdir()))
        wait_until("the solver runs", lambda: len(list(threads.iterdir())) > before)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=300)

    assert process.returncode == -signal.SIGINT
    assert told.endswith("KeyboardInterrupt\n")


@contextmanager
def running(folder: Path, shows: str, *command: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A process about a long fleet and its terminal, once that has shown something at two different seconds."""
    (folder / "fleet.yaml").write_text(yaml.safe_dump(LONG, sort_keys=False), encoding="utf-8")
    terminal, end = pty.openpty()
    program = [sys.executable, "-m", "planner", *command]
    with subprocess.Popen(
        program, cwd=folder, stdout=subprocess.PIPE, stderr=end, text=True, start_new_session=True
    ) as process:
        os.close(end)
        shown = ""
        while len(set(re.findall(rf"(\d+) s  {shows}", shown))) < 2:
            shown += read(terminal)
            assert process.poll() is None, shown
        try:
            yield process, terminal
        finally:
            process.kill()
            os.close(terminal)


def read(terminal: int) -> str:
    """What a terminal shows next, within five minutes."""
    ready, _, _ = select.select([terminal], [], [], 300)
    assert ready, "nothing was shown for five minutes"
    try:
        return os.read(terminal, 4096).decode(errors="replace")
    except OSError:  # the other end is closed
        return ""


@pytest.mark.slow
def test_ctrl_c_takes_the_best_checked_plan(tmp_path: Path) -> None:
    with running(tmp_path, IMPROVING, "solve") as (process, _):
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=300)
    plan = plan_from_yaml(tmp_path / "plan.yaml")

    assert process.returncode == 4
    assert printed.startswith("long: interrupted, not proven best for balanced (balanced: a plan with ")
    assert (plan.proof.proven, plan.proof.interrupted) == (False, True)
    assert plan.proof.stages[0].bound > plan.proof.stages[0].value
    assert not check(plan, load_fleet(tmp_path / "fleet.yaml", catalog()), catalog())
    assert (tmp_path / "artifacts" / "launch.sh").is_file()


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once_and_writes_nothing(tmp_path: Path) -> None:
    with running(tmp_path, IMPROVING, "solve") as (process, terminal):
        process.send_signal(signal.SIGINT)
        shown = ""
        while "once more ends at once" not in shown:  # two signals at the same moment are one
            shown += read(terminal)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=300)

    assert (process.returncode, printed) == (130, "")
    assert [path.name for path in tmp_path.iterdir()] == ["fleet.yaml"]


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_of_what_if(tmp_path: Path) -> None:
    with running(tmp_path, "0 of 2 scenarios", "what-if", "--gpu", "l40s:5", "--jobs", "2") as (process, _):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        printed, _ = process.communicate(timeout=300)

        assert (process.returncode, printed) == (130, "")
        with pytest.raises(ProcessLookupError):
            for _ in range(3000):
                os.killpg(process.pid, 0)
                time.sleep(0.1)
