"""``planner pareto`` and ``planner solve --point``: one list of points, each a plan to be written and verified."""

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import plans
import pytest
from commands import invoke
from documents import valid
from fleets import catalog
from msgspec.structs import replace

import planner
from planner.check import check, measure
from planner.explain.frontier_text import axis_value, listed_points, scales
from planner.fleet import Fleet, load_fleet
from planner.options.figures import RoleFigures
from planner.plan import LESS, Frontier, FrontierPoint, NoPlan, Plan, Stage, plan_from_yaml, reached, undominated
from planner.search.optimise import optimise
from planner.search.problem import Answer, Problem, StageValue
from planner.solve import BudgetSpent, NoSuchPoint
from planner.solve import frontier as search
from planner.solve.noise import score_noise

SMALL = """
name: small
engine: {version: 0.33.0}
gpu: RTX 4090
roles:
  talk:
    task: general
    models: Mistral-7B-Instruct-v0.3
    context: 8k
    concurrency: {min: 1, target: 40}
"""
AXES = ("--x", "concurrency", "--y", "accuracy")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.yaml").write_text(SMALL, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    path = tmp_path_factory.mktemp("pareto") / "fleet.yaml"
    path.write_text(SMALL, encoding="utf-8")
    return load_fleet(path, catalog())


@pytest.fixture(scope="module")
def found(fleet: Fleet) -> Frontier:
    found = planner.pareto(fleet, "concurrency", "accuracy", catalog())
    assert isinstance(found, Frontier)
    return found


def test_points_rise_in_x_and_fall_in_y_and_are_all_checked(fleet: Fleet, found: Frontier) -> None:
    values = [(reached(plan, "concurrency"), reached(plan, "accuracy")) for plan in found.plans]

    assert len(values) >= 3
    assert values == sorted(values)
    assert [pair[1] for pair in values] == sorted({pair[1] for pair in values}, reverse=True)
    assert [plan.point and plan.point.number for plan in found.plans] == list(range(1, len(values) + 1))
    assert all(undominated(plan) and not check(plan, fleet, catalog()) for plan in found.plans)
    assert (found.complete, found.open_end) == (True, False)


def test_its_ends_are_the_best_plans_for_one_axis_before_the_other(fleet: Fleet, found: Frontier) -> None:
    for objective, plan in ((("score", "concurrency"), found.plans[0]), (("concurrency", "score"), found.plans[-1])):
        best = planner.solve(replace(fleet, objective=objective), catalog())

        assert isinstance(best, Plan)
        assert {s.name: s.value for s in best.proof.stages} == {s.name: s.value for s in plan.proof.stages}


def test_the_checker_refuses_a_point_that_is_none(fleet: Fleet, found: Frontier) -> None:
    plan = found.plans[1]
    assert plan.point and plan.point.floor is not None
    higher = replace(plan.point, floor=plan.point.floor + 10**6)
    other = replace(plan.point, y="context")

    for point, message in ((higher, "must reach"), (other, "but maximises score, concurrency")):
        violations = check(replace(plan, point=point), fleet, catalog())
        assert [message in str(violation) for violation in violations] == [True]


def test_the_table_has_a_row_for_each_point(folder: Path, found: Frontier) -> None:
    result = invoke("pareto", *AXES)
    lines = result.stdout.splitlines()

    assert result.exit_code == 0
    assert lines[0].split() == ["point", "concurrency", "accuracy", "plan", "talk:", "Mistral-7B-Instruct-v0.3"]
    assert [line.split()[0] for line in lines[1 : len(found.plans) + 1]] == ["1", "2", "3"]
    assert "This is the whole frontier" in lines[-1]
    assert "--point N" in result.stderr
    assert [path.name for path in folder.iterdir()] == ["fleet.yaml"]


def test_csv_and_json_have_the_same_points(folder: Path) -> None:
    result = invoke("pareto", *AXES, "--json", "--csv", "points.csv")
    document = valid("pareto", result.stdout)
    rows = list(csv.DictReader((folder / "points.csv").read_text(encoding="utf-8").splitlines()))

    assert (document["complete"], document["x"]["axis"]) == (True, "concurrency")
    assert [float(row["accuracy"]) for row in rows] == [pytest.approx(point["y"]) for point in document["points"]]
    for row, point in zip(rows, document["points"], strict=True):
        server = point["plan"]["servers"][0]
        assert (row["talk.variant"], row["talk.requests"]) == (server["repository"], str(server["max_num_seqs"]))
        assert row["proven"] == "true"


def test_a_point_is_written_like_any_plan(folder: Path, found: Frontier) -> None:
    written = invoke("solve", *AXES, "--point", "2")
    plan = plan_from_yaml(folder / "plan.yaml")

    assert written.exit_code == 0
    assert written.stdout.startswith(
        "small: point 2 of the frontier of concurrency and accuracy, proven best for score"
    )
    floor = reached(found.plans[0], "concurrency") + 1
    assert plan.point == FrontierPoint(x="concurrency", y="accuracy", number=2, floor=floor)
    assert replace(plan, runner_up=None) == found.plans[1]
    assert invoke("solve", *AXES, "--point", "2", "--check").exit_code == 0
    assert invoke("solve", *AXES, "--point", "1", "--check").exit_code == 5
    assert invoke("verify").exit_code == 0
    assert invoke("render", "--check").exit_code == 0
    assert invoke("explain").exit_code == 0


def test_a_point_that_is_not_there(fleet: Fleet, folder: Path) -> None:
    with pytest.raises(NoSuchPoint, match="there is no point 99: the frontier has 3 points"):
        search.point(fleet, catalog(), "concurrency", "accuracy", 99)
    result = invoke("solve", *AXES, "--point", "99")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: there is no point 99: the frontier has 3 points\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("pareto", "--x", "cost", "--y", "cost"),
        ("pareto", "--x", "cost"),
        ("pareto", "--x", "cost", "--y", "speed"),
        ("pareto", *AXES, "--points", "1"),
        ("pareto", *AXES, "--chart", "chart.pdf"),
        ("solve", "--point", "1"),
        ("solve", "--point", "1", "--x", "cost"),
        ("solve", "--x", "cost", "--y", "accuracy"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_solved(arguments: tuple[str, ...], folder: Path) -> None:
    assert invoke(*arguments).exit_code == 2


def test_a_fleet_without_a_plan_is_explained(folder: Path) -> None:
    (folder / "fleet.yaml").write_text(SMALL.replace("8k", "32k").replace("min: 1", "min: 40"), encoding="utf-8")
    result = invoke("pareto", *AXES)

    assert result.exit_code == 3
    assert result.stdout.startswith("no plan exists for small")
    assert valid("no-plan", invoke("pareto", *AXES, "--json").stdout)["fleet"] == "small"
    assert isinstance(planner.pareto(load_fleet("fleet.yaml"), "cost", "accuracy"), NoPlan)


_FIND = search.pareto
_KNOWN: dict[tuple[str, str], Frontier | NoPlan] = {}


def known(fleet: Fleet, x: str, y: str, *options: Any) -> Frontier | NoPlan:  # noqa: ANN401 - those of the command
    if (x, y) not in _KNOWN:
        _KNOWN[x, y] = _FIND(fleet, x, y, *options)
    return _KNOWN[x, y]


@pytest.mark.parametrize("suffix", ["svg", "png"])
@pytest.mark.parametrize("axes", [AXES, ("--x", "cost", "--y", "concurrency")], ids=["falling", "one-point"])
def test_a_chart_is_the_same_bytes_every_time(
    suffix: str, axes: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same frontier, which is found once: that plans are the same every time is for other tests to show."""
    monkeypatch.setattr("planner.solve.frontier.pareto", known)
    for name in ("one", "two"):
        result = invoke("pareto", *axes, "--chart", f"{name}.{suffix}")
        assert f"create {name}.{suffix}" in result.stderr
    picture = (folder / f"one.{suffix}").read_bytes()

    assert picture == (folder / f"two.{suffix}").read_bytes()
    assert picture.startswith(b"\x89PNG" if suffix == "png" else b"<?xml")
    assert not re.search(rb"20\d\d-\d\d-\d\d", picture)


def test_a_chart_without_the_extra_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = invoke("pareto", *AXES, "--chart", "chart.svg")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "error: a chart needs matplotlib, which is not installed\n  hint: pip install matplotlib\n"
    )
    assert invoke("pareto", *AXES, "--csv", "points.csv").exit_code == 0


def test_more_points_than_asked_for_are_thinned_and_said_to_be(folder: Path, found: Frontier) -> None:
    result = invoke("pareto", *AXES, "--points", "2", "--json")
    points = json.loads(result.stdout)["points"]
    text = invoke("pareto", *AXES, "--points", "2").stdout

    ends = [found.plans[0].servers[0], found.plans[-1].servers[0]]
    assert [point["plan"]["servers"][0]["repository"] for point in points] == [end.repository for end in ends]
    assert [point["plan"]["servers"][0]["max_num_seqs"] for point in points] == [end.max_num_seqs for end in ends]
    assert json.loads(result.stdout)["complete"] is False
    assert "There are more points than these 2: listed are both ends" in text


def test_a_spent_budget_leaves_the_end_open(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def spent(problem: Problem, budget: int) -> Answer | None:
        if problem.floors:
            raise BudgetSpent(budget)
        return optimise(problem, budget)

    monkeypatch.setattr(search, "optimise", spent)
    some = planner.pareto(fleet, "concurrency", "accuracy", catalog())

    assert isinstance(some, Frontier)
    assert (len(some.plans), some.complete, some.open_end) == (1, False, True)
    assert listed_points(some) == "The search ended after 1 point; there may be more beyond the last."


def test_a_point_that_is_not_proven_is_named_and_gives_way_to_a_better_one() -> None:
    def answer(leading: int, other: int, proven: bool) -> Answer:
        values = (("score", leading), ("concurrency", other))
        stages = tuple(StageValue(name=name, value=value, bound=value, proven=proven) for name, value in values)
        return Answer(choices=(), stages=stages, model_sha256="")

    answers = iter([answer(9, 1, True), answer(5, 2, False), answer(6, 3, False), answer(4, 4, False), None])
    walked = list(search.walk(lambda _: next(answers)))

    assert [(one.leading, one.other, one.proven) for one in walked] == [(9, 1, True), (6, 3, False), (4, 4, False)]

    stages = tuple(Stage(name=name, value=1, bound=2, proven=False) for name in ("score", "concurrency"))
    point = FrontierPoint(x="concurrency", y="accuracy", number=1, floor=None)
    plain = plans.plan(plans.server("talk"), objective=("score", "concurrency"), point=point)
    plan = replace(plain, proof=replace(plain.proof, proven=False, stages=stages))
    some = Frontier(x="concurrency", y="accuracy", plans=(plan,), complete=True, open_end=False)
    assert listed_points(some).endswith("It is not proven that point 1 is on the frontier: a better plan may exist.")


QUICK = SMALL.replace("context: 8k", "context: 8k\n    request: {prompt_tokens: 1000, output_tokens: 300}")


@pytest.mark.parametrize(
    ("x", "y"), [("throughput", "tpot"), ("tpot", "throughput"), ("cost_per_mtok", "tpot"), ("accuracy", "tpot")]
)
def test_speed_is_an_axis(x: str, y: str, folder: Path) -> None:
    (folder / "fleet.yaml").write_text(QUICK, encoding="utf-8")
    fleet = load_fleet(folder / "fleet.yaml", catalog())
    some = planner.pareto(fleet, x, y, catalog(), most=4)
    assert isinstance(some, Frontier)
    values = [(reached(plan, x), reached(plan, y)) for plan in some.plans]
    better = -1 if (x in LESS) != (y in LESS) else 1

    assert len(values) >= 2
    assert values == sorted(values)
    assert [pair[1] for pair in values] == sorted({pair[1] for pair in values}, reverse=better > 0)
    tpot = some.plans[0].servers[0].speed
    assert tpot and tpot.tpot_us
    assert values[0][x != "tpot"] == tpot.tpot_us.high or "tpot" not in (x, y)
    assert all(check(plan, fleet, catalog()) == [] for plan in some.plans)


def test_an_axis_of_speed_needs_the_length_of_a_request(folder: Path) -> None:
    result = invoke("pareto", "--x", "throughput", "--y", "accuracy")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "roles.talk.request" in result.stderr
    priced = QUICK.replace("gpu: RTX 4090", "gpu: {name: RTX 4090, price_per_hour: 0.5}")
    (folder / "fleet.yaml").write_text(priced, encoding="utf-8")
    table = invoke("pareto", "--x", "throughput", "--y", "cost_per_mtok", "--points", "3", "--csv", "points.csv").stdout
    assert "$ per million output tokens" in table
    assert "\nprice: gpu.price_per_hour\n" in table
    assert (folder / "points.csv").read_text(encoding="utf-8").startswith("point,throughput,cost_per_mtok,proven,")


def test_roles_on_different_scales_add_shares_of_their_best_not_scores() -> None:
    fleet = load_fleet(Path(__file__).parent.parent / "examples/deepseek-33b-and-qwen-14b/fleet.yaml", catalog())
    figures = {role.name: RoleFigures(role, catalog()).measure.best for role in fleet.roles}
    frontier = planner.pareto(fleet, "concurrency", "accuracy", catalog(), most=2)
    assert isinstance(frontier, Frontier)

    assert scales(frontier) == ["accuracy of coder: bigcodebench", "accuracy of general: openllm-v2"]
    for plan in frontier.plans:
        shares = [(server.accuracy.score or 0) * 100 / figures[server.role] for server in plan.servers]
        weights = [fleet.role(server.role).weight for server in plan.servers]
        mean = sum(share * weight for share, weight in zip(shares, weights, strict=True)) / sum(weights)
        assert axis_value(plan, "accuracy", fleet) == pytest.approx(mean, abs=1e-3)
        assert score_noise(plan, fleet, catalog()) > 1, "a point of each of the scores at least"
    assert measure(frontier.plans[1], fleet, catalog(), frontier.plans[0].objective) is not None
