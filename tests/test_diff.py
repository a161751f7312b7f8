"""``planner diff``: two plan files -> what differs, in words and as JSON."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from documents import valid
from msgspec.structs import replace
from plans import NAMELESS, plan, server

from planner.cli import main
from planner.engine.settings import EngineSettings
from planner.engine.switching import Span
from planner.plan import (
    Asleep,
    GPUGroup,
    HourlyPrice,
    KnownFault,
    Money,
    Plan,
    ServerPlan,
    ServerSpeed,
    SharedRole,
    Stage,
    TokenPrice,
    differences,
    plan_to_yaml,
)
from planner.speed.forecast import Range
from planner.units import GIB

CODER = server("coder", gpu_indices=(0,))
OLD = plan(CODER, server("chat", gpu_indices=(0,)))


def diff(folder: Path, old: Plan, new: Plan, *options: str) -> Result:
    (folder / "old.yaml").write_text(plan_to_yaml(old), encoding="utf-8")
    (folder / "new.yaml").write_text(plan_to_yaml(new), encoding="utf-8")
    return CliRunner().invoke(main, ["diff", str(folder / "old.yaml"), str(folder / "new.yaml"), *options])


def staged(found: Plan, **values: int) -> Plan:
    stages = tuple(Stage(name=name, value=value, bound=value, proven=True) for name, value in values.items())
    return replace(found, proof=replace(found.proof, stages=stages))


def test_equal_plans_promise_the_same(tmp_path: Path) -> None:
    result = diff(tmp_path, OLD, OLD)

    assert (result.exit_code, result.stdout) == (0, "the plans promise the same\n")


def test_what_is_paid_is_part_of_what_plans_promise(tmp_path: Path) -> None:
    before = HourlyPrice(per_hour=5.225, currency="USD", basis="aws g6.12xlarge, on demand, undated", date="")
    after = replace(before, per_hour=4.0, basis="nodes.cloud.price_per_hour")
    tokens = TokenPrice(
        output=Range(value=2_000_000, low=1_500_000, high=2_500_000), all_tokens=Range(value=1, low=1, high=1)
    )
    paid = replace(OLD, price=after, money=Money(full_load=tokens, planned_load=None))
    result = diff(tmp_path, replace(OLD, price=before), paid)

    assert result.exit_code == 5
    assert result.stdout.splitlines() == [
        "what is in use costs 4.00 $/h (nodes.cloud.price_per_hour) instead of 5.23 $/h (aws g6.12xlarge, on demand, "
        "undated)",
        "a million output tokens with all requests running cost 2 $ (1.5 to 2.5) instead of not known",
    ]


def test_how_it_was_proven_is_no_difference(tmp_path: Path) -> None:
    other = replace(OLD, proof=replace(OLD.proof, model_sha256="00", solver_version="10.0"))

    assert diff(tmp_path, OLD, other).exit_code == 0


def test_every_visible_change_is_one_line(tmp_path: Path) -> None:
    ledger = replace(CODER.ledger, weights_bytes=CODER.ledger.weights_bytes - 6 * GIB)
    changed = replace(
        CODER, repository="maker/coder-awq", scheme="awq-int4", dtype="float16", max_model_len=32768, max_num_seqs=12,
        gpu_indices=(1,), gpu_memory_utilization=0.5, ledger=ledger,
        accuracy=replace(NAMELESS, scale="humaneval", score=7150),
    )  # fmt: skip
    new = staged(plan(changed, server("embed", gpu_indices=(0,))), balanced=2_500_000)
    result = diff(tmp_path, staged(OLD, balanced=2_250_000), new)

    assert result.exit_code == 5
    assert (
        result.stdout
        == """\
start order coder and embed instead of coder and chat
chat: gone
coder: maker/coder-awq instead of Qwen/Qwen2.5-Coder-7B-Instruct
coder: context 32k instead of 16k
coder: requests at once 12 instead of 8
coder: GPU 1 instead of 0
coder: accuracy 71.5 on humaneval instead of accuracy unknown
coder: 6.00 GiB less memory on each of its GPUs, 20.25 GiB in all
embed: new, Qwen/Qwen2.5-Coder-7B-Instruct, 16k context, 8 requests at once, on GPU 0
GPU 0: free memory 68.75 GiB instead of 42.50 GiB
GPU 1: new, rtx-pro-6000
objective: balanced 11 % more
"""
    )


def test_gpus_of_several_nodes_are_named_with_their_nodes(tmp_path: Path) -> None:
    def placed(*nodes: str) -> Plan:
        servers = [server(f"chat-{node}", role="chat", node=node, gpu_indices=(0,)) for node in nodes]
        ledgers = tuple(replace(plan(one).gpus[0], node=one.node) for one in servers)
        return plan(*servers, gpus=ledgers, left_out=() if "spare" in nodes else ("embed",))

    result = diff(tmp_path, placed("big"), placed("big", "spare"))

    assert (
        result.stdout
        == """\
left out nothing instead of embed
start order chat-big and chat-spare instead of chat-big
chat-spare: new, Qwen/Qwen2.5-Coder-7B-Instruct, 16k context, 8 requests at once, on GPU 0 of spare
spare GPU 0: new, rtx-pro-6000
"""
    )
    assert "GPU 0: gone" not in diff(tmp_path, placed("big"), placed("renamed")).stdout


SPEED = ServerSpeed(
    busy_permille=1000,
    reason=None,
    grade="measured",
    tpot_us=Range(value=20_000, low=17_000, high=25_000),
    ttft_us=Range(value=500_000, low=300_000, high=900_000),
    output_millitokens_per_second=Range(value=400_000, low=320_000, high=480_000),
)


def test_a_speed_that_differs_is_told_as_users_notice_it(tmp_path: Path) -> None:
    result = diff(tmp_path, plan(CODER), plan(replace(CODER, speed=SPEED)))

    assert "coder: speed 50.0 tokens/s each after 0.5 s instead of not said" in result.stdout


@pytest.mark.parametrize("field", [name for name in ServerPlan.__struct_fields__ if name != "name"])
def test_no_field_of_a_server_changes_in_silence(field: str, tmp_path: Path) -> None:
    special: dict[str, Any] = {
        "later_stages": (GPUGroup(node="", gpu_indices=(1,)),),
        "unseen": ("ignore",),
        "settings": EngineSettings(eager=True),
        "shared": (SharedRole(name="more", task="chat", accuracy=NAMELESS),),
        "speed": SPEED,
        "known_faults": (KnownFault(id="late", serious=False, account="late: slow"),),
        "asleep": Asleep(
            how="stop", gpu_bytes=0, host_bytes=0, leave=Span(low_ms=1, high_ms=2), enter=Span(low_ms=1, high_ms=2)
        ),
    }
    other = special.get(field) or _other(getattr(CODER, field))
    changed = replace(CODER, **{field: other})
    result = diff(tmp_path, plan(CODER), plan(changed))

    assert result.exit_code == 5
    assert "coder: " in result.stdout


def _other(value: Any) -> Any:  # noqa: ANN401 - any field
    """Return another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return f"{value}x"
    if isinstance(value, tuple):
        return (*value, 7)
    first = next(name for name in value.__struct_fields__ if name in ("score", "weights_bytes"))
    return replace(value, **{first: 7})


def test_json_has_every_difference(tmp_path: Path) -> None:
    changed = replace(CODER, port=9000, ledger=replace(CODER.ledger, margin_bytes=0))
    result = diff(tmp_path, plan(CODER), plan(changed), "--json")
    found = valid("diff", result.stdout)["differences"]

    assert result.exit_code == 5
    assert len(found) == len(differences(plan(CODER), plan(changed)))
    assert {"kind": "server", "name": "coder", "field": "port", "before": 8001, "after": 9000} in found
    assert next(item for item in found if item["field"] == "ledger")["after"]["margin_bytes"] == 0


def test_a_plan_of_a_newer_planner_is_refused(tmp_path: Path) -> None:
    newer = plan_to_yaml(OLD).replace("schema: ", "schema: 9", 1)
    (tmp_path / "old.yaml").write_text(plan_to_yaml(OLD), encoding="utf-8")
    (tmp_path / "new.yaml").write_text(newer, encoding="utf-8")
    result = CliRunner().invoke(main, ["diff", str(tmp_path / "old.yaml"), str(tmp_path / "new.yaml")])

    assert result.exit_code == 1
    assert "new.yaml:1:9: schema: a newer planner wrote this plan" in result.stderr
    assert "upgrade the planner" in result.stderr
