"""plan.yaml is the lock of its fleet: what it was made from is recorded, used again, and told when it has changed."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import invoke
from fleets import PAIR, changed
from staged import amend

from planner.catalog import load_catalog
from planner.engine.profile import load_profile
from planner.fleet import load_fleet
from planner.plan import Lock, lock_of, plan_from_yaml, stale

TEXT = yaml.safe_dump(PAIR, sort_keys=False)


def locked(text: str, folder: Path, *overlays: Path) -> Lock:
    (folder / "read.yaml").write_text(text, encoding="utf-8")
    found = load_catalog(overlays=overlays)
    fleet = load_fleet(folder / "read.yaml", found)
    return lock_of(fleet, found, load_profile(fleet.engine_version))


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("solved")
    (folder / "fleet.yaml").write_text(TEXT, encoding="utf-8")
    assert invoke("solve", str(folder / "fleet.yaml"), "--target", "quadlet").exit_code == 0
    return folder


@pytest.fixture
def folder(once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that was solved with one more target than usual."""
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_fleet(folder: Path, path: str, value: Any) -> None:  # noqa: ANN401 - any YAML value
    text = yaml.safe_dump(changed(PAIR, path, value), sort_keys=False)
    (folder / "fleet.yaml").write_text(text, encoding="utf-8")


def test_a_price_that_a_plan_would_print_makes_it_stale(tmp_path: Path) -> None:
    prices = tmp_path / "cheaper" / "prices"
    prices.mkdir(parents=True)
    offer = "{provider: own, instance: box, gpu: RTX PRO 6000 Blackwell Workstation, gpus: 1, usd_per_hour: 0.01, "
    text = f'providers:\n  own: {{}}\ninstances:\n  - {offer}date: "2026-11-01", source: me}}\n'
    (prices / "own.yaml").write_text(text, encoding="utf-8")

    assert stale(locked(TEXT, tmp_path), locked(TEXT, tmp_path, prices.parent)) == ("catalog",)


def test_what_means_the_same_has_the_same_lock(tmp_path: Path) -> None:
    other = dict(reversed(PAIR.items())) | {"objective": ["balanced"], "gpu": "rtx-pro-6000-blackwell"}
    text = "# a comment\n" + yaml.safe_dump(other, sort_keys=False).replace("min: 8k", "min: 8192")

    assert "8192" in text
    assert locked(text, tmp_path) == locked(TEXT, tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        ("roles.coder.context.wish", "32k", ("fleet",)),
        ("roles.coder.weight", 3, ("fleet",)),
        ("roles.coder.port", 9001, ("fleet",)),
        ("roles.general.models", ["mistral-7b-instruct-v0.3", "qwen2.5-7b-instruct"], ("fleet", "catalog")),
        ("engine.version", "0.32.0", ("fleet", "engine profile")),
    ],
)
def test_what_means_something_else_has_another_lock(
    path: str, value: object, what: tuple[str, ...], tmp_path: Path
) -> None:
    other = yaml.safe_dump(changed(PAIR, path, value))

    assert stale(locked(TEXT, tmp_path), locked(other, tmp_path)) == what


def test_only_what_the_catalog_says_about_the_fleet_counts(tmp_path: Path) -> None:
    mine, more = tmp_path / "mine", tmp_path / "more"
    for overlay, model in ((mine, "deepseek-ai/deepseek-coder-33b-instruct"), (more, "nobody/nothing")):
        (overlay / "accuracy").mkdir(parents=True)
        text = f"scores:\n  - {{model: {model}, scores: {{own: 50}}, source: us}}\n"
        (overlay / "accuracy" / "own.yaml").write_text(text, encoding="utf-8")
    plain = locked(TEXT, tmp_path)

    assert stale(plain, locked(TEXT, tmp_path, mine)) == ("catalog",)
    assert stale(plain, locked(TEXT, tmp_path, more)) == ()


def test_targets_are_rendered_again_until_they_are_said_anew(folder: Path) -> None:
    assert plan_from_yaml(folder / "plan.yaml").lock.targets == ("quadlet",)
    shutil.rmtree(folder / "artifacts" / "quadlet")
    assert invoke("render").exit_code == 0
    assert (folder / "artifacts" / "quadlet").is_dir()
    assert invoke("solve", "--check").exit_code == 0

    invoke("render", "--target", "kubernetes")
    assert plan_from_yaml(folder / "plan.yaml").lock.targets == ("kubernetes",)
    assert (folder / "artifacts" / "kubernetes").is_dir() > (folder / "artifacts" / "quadlet").is_dir()

    invoke("solve", "--fresh")
    assert plan_from_yaml(folder / "plan.yaml").lock.targets == ()
    assert not (folder / "artifacts" / "kubernetes").exists()


def test_checking_solves_nothing_while_nothing_has_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "fleet.yaml").write_text(f"# a comment\n{TEXT}", encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr("planner.solve.solve", lambda *_: pytest.fail("solved"))

        assert invoke("solve", "--check").exit_code == 0
        amend(folder / "artifacts" / "compose.yaml", "services:", "services: # mine")
        assert invoke("solve", "--check").exit_code == 5
    assert invoke("render", "--force").exit_code == 0
    assert invoke("solve", "--check", "--fresh").exit_code == 5, "without the extra target"


@pytest.mark.parametrize("option", [("--time-limit", "59"), ()])
def test_checking_solves_when_anything_has_changed(
    option: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not option:
        write_fleet(folder, "roles.coder.concurrency.target", 17)
    monkeypatch.setattr("planner.solve.solve", lambda *_: pytest.fail("solved"))

    with pytest.raises(pytest.fail.Exception, match="solved"):
        invoke("solve", "--check", *option)


def test_a_changed_fleet_is_told_and_shown(folder: Path) -> None:
    write_fleet(folder, "roles.general.concurrency.target", 12)
    rendered, checked = invoke("render", "--check"), invoke("solve", "--check")

    assert rendered.exit_code == 0
    assert "hint: the fleet has changed since plan.yaml was made; `planner solve` plans again" in rendered.stderr
    assert checked.exit_code == 5
    assert "--- a/plan.yaml\n+++ b/plan.yaml\n" in checked.stdout
    assert "-    max_num_seqs: 24\n+    max_num_seqs: 12\n" in checked.stdout


def test_a_plan_edited_by_hand_is_not_followed_and_only_a_fresh_one_takes_its_place(folder: Path) -> None:
    ports = [server.port for server in plan_from_yaml(folder / "plan.yaml").servers]
    amend(folder / "plan.yaml", f"port: {ports[0]}", "port: 8123")
    checked, solved = invoke("solve", "--check", "--target", "quadlet"), invoke("solve", "--target", "quadlet")

    assert (checked.exit_code, solved.exit_code) == (5, 5)
    assert "hint: plan.yaml was edited by hand, so it is not followed" in checked.stderr
    assert f"-    port: 8123\n+    port: {ports[0]}\n" in checked.stdout
    assert "port: 8123" in (folder / "plan.yaml").read_text()

    assert invoke("solve", "--fresh").exit_code == 0
    assert f"port: {ports[0]}" in (folder / "plan.yaml").read_text()


def test_a_fresh_plan_leaves_other_files_that_were_edited_by_hand(folder: Path) -> None:
    amend(folder / "plan.yaml", "schema: 1\n", "schema: 0\n")
    (folder / "artifacts" / "launch.sh").write_text("mine\n", encoding="utf-8")

    assert invoke("solve", "--fresh").exit_code == 5
    assert (folder / "plan.yaml").read_text().startswith("schema: 0\n")


def resigned(folder: Path) -> None:
    """Let plan.yaml be what was written last."""
    digest = hashlib.sha256((folder / "plan.yaml").read_bytes()).hexdigest()
    sums = folder / "artifacts" / "SHA256SUMS"
    lines = [line for line in sums.read_text().splitlines() if not line.endswith("../plan.yaml")]
    sums.write_text("\n".join([*lines, f"{digest}  ../plan.yaml\n"]))


def test_a_plan_of_a_newer_planner_is_refused_and_not_overwritten(folder: Path) -> None:
    amend(folder / "plan.yaml", "schema: 1\n", "schema: 2\n")
    resigned(folder)
    for arguments in (["solve"], ["solve", "--check"], ["render"], ["verify"], ["diff", "plan.yaml", "plan.yaml"]):
        result = invoke(*arguments)

        assert (result.exit_code, result.stdout) == (1, "")
        assert "plan.yaml:1:9: schema: a newer planner wrote this plan: its schema is 2" in result.stderr
        assert "hint: upgrade the planner, or make the plan again with `planner solve --fresh`" in result.stderr

    assert invoke("solve", "--fresh").exit_code == 0
    assert (folder / "plan.yaml").read_text().startswith("schema: 1\n")


def test_a_file_that_is_no_plan_is_told(folder: Path) -> None:
    (folder / "plan.yaml").write_text("nothing: here\n", encoding="utf-8")
    resigned(folder)
    result = invoke("solve", "--dry-run")

    assert result.exit_code == 0
    assert "hint: plan.yaml is no plan that this version reads, so it is not followed" in result.stderr


def test_minimal_change_keeps_what_it_can_and_then_changes_nothing(folder: Path) -> None:
    before = plan_from_yaml(folder / "plan.yaml")
    document = changed(changed(PAIR, "objective", "minimal-change"), "roles.general.concurrency.min", 12)
    text = yaml.safe_dump(changed(document, "roles.coder.concurrency.target", 20), sort_keys=False)
    (folder / "fleet.yaml").write_text(text, encoding="utf-8")
    solved = invoke("solve")
    written = (folder / "plan.yaml").read_bytes()

    assert (solved.exit_code, invoke("solve", "--check").exit_code, invoke("solve").exit_code) == (0, 0, 0)
    assert (folder / "plan.yaml").read_bytes() == written
    after = plan_from_yaml(folder / "plan.yaml")
    assert [server.max_num_seqs for server in after.servers] == [server.max_num_seqs for server in before.servers]
    assert "would fit; the objective asks for minimal change" in solved.stdout


def test_solving_says_how_many_servers_stay(folder: Path) -> None:
    write_fleet(folder, "roles.general.concurrency.target", 12)
    changed, again = invoke("solve"), invoke("solve")

    assert "hint: 1 of 2 servers stay as plan.yaml had them" in changed.stderr
    assert "stay as" not in again.stderr


def test_what_is_gone_is_told(folder: Path) -> None:
    write_fleet(folder, "gpu.index", 1)
    place = invoke("solve", "--dry-run")
    write_fleet(folder, "roles.general.models", ["qwen2.5-7b-instruct"])
    model = invoke("solve", "--dry-run")
    gone = plan_from_yaml(folder / "plan.yaml").server("general").repository

    assert (place.exit_code, model.exit_code) == (0, 0)
    assert "hint: plan.yaml has coder on GPU 0 of pair, which the fleet has no longer" in place.stderr
    assert f"hint: plan.yaml has general on {gone}, which the fleet has no longer" in model.stderr


def test_explain_is_about_the_plan_that_is_there(folder: Path) -> None:
    ports = [("coder", 8001), ("general", 8002)]
    write_fleet(folder, "roles.a-new-one", {"task": "embedding", "models": ["bge-m3"], "context": "8k"})
    assert invoke("solve").exit_code == 0
    explained = json.loads(invoke("explain", "fleet.yaml", "coder", "--json").stdout)["plan"]
    held = plan_from_yaml(folder / "plan.yaml")

    assert held.lock.held
    assert [(server.name, server.port) for server in held.servers if server.name != "a-new-one"] == ports
    assert [(server["name"], server["port"]) for server in explained["servers"]] == [
        (server.name, server.port) for server in held.servers
    ]
