"""``planner explain``: every claim is one that solving again confirms."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from documents import valid
from fleets import PAIR, catalog, changed, fleet
from msgspec.structs import replace
from plans import NAMELESS, plan, server

from planner.cli import main
from planner.explain.account_text import account as told
from planner.options import Rejection
from planner.plan import Binding, Plan, Proof, RunnerUp, RunnerUpServer, Stage
from planner.plan.account import Account, Alternative, Growth, LeftOut
from planner.solve import solve
from planner.solve.account import account
from planner.units import GIB

TIGHT = changed(changed(PAIR, "gpu", {"name": "l40s", "memory_in_use": "2GiB"}), "roles.coder.concurrency.target", 12)
TIGHT = changed(TIGHT, "roles.coder.models", ["deepseek-coder-33b-instruct", "qwen2.5-coder-14b-instruct"])


@pytest.fixture(scope="module")
def found() -> Account:
    answer = account(fleet(TIGHT), catalog())

    assert isinstance(answer, Account)
    return answer


def values(stages: tuple[Stage, ...]) -> list[int]:
    return [stage.value for stage in stages]


def run(document: dict[str, Any], folder: Path, *arguments: str) -> Result:
    (folder / "fleet.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return CliRunner().invoke(main, ["explain", str(folder / "fleet.yaml"), *arguments])


def test_an_alternative_lacks_the_variant_and_is_never_better(found: Account) -> None:
    assert [item.role for item in found.alternatives] == ["coder", "general"]
    for item in found.alternatives:
        chosen = found.plan.server(item.role).repository
        assert item.runner_up is not None
        assert chosen not in [other.repository for other in item.runner_up.servers if other.role == item.role]
        assert values(item.runner_up.stages) <= values(found.plan.proof.stages)


def test_the_best_alternative_is_the_runner_up_of_the_plan(found: Account) -> None:
    own = solve(fleet(TIGHT), catalog())
    others = [item.runner_up for item in found.alternatives if item.runner_up]

    assert isinstance(own, Plan)
    assert replace(own, runner_up=None) == found.plan
    assert own.runner_up == max(others, key=lambda item: values(item.stages))


def test_the_cache_holds_what_its_tokens_cost(found: Account) -> None:
    for one in found.contexts:
        server = found.plan.server(one.role)
        block = 16 * one.token_bytes  # tokens of a block of these models
        assert server.kv_cache_tokens * one.token_bytes <= server.kv_cache_memory_bytes
        assert server.kv_cache_memory_bytes < server.kv_cache_tokens * one.token_bytes + block
        assert f"a further token of context takes {one.token_bytes:,} bytes" in told(found, one.role)
    assert [one.role for one in found.contexts] == ["coder", "general"]


def test_one_more_gib_is_what_solving_with_it_gives(found: Account) -> None:
    (growth,) = found.growths
    with_it = solve(fleet(changed(TIGHT, "gpu.memory_in_use", "1GiB")), catalog())

    assert (growth.pool, growth.more_bytes) == ("gpu", GIB)
    assert isinstance(with_it, Plan)
    assert growth.answer == replace(with_it, runner_up=None, lock=found.plan.lock)
    assert values(with_it.proof.stages) > values(found.plan.proof.stages)


def test_without_memory_in_use_the_gpu_grows() -> None:
    answer = account(fleet(changed(TIGHT, "gpu.memory_in_use", 0)), catalog(), "coder")

    assert isinstance(answer, Account)
    (growth,) = answer.growths
    assert isinstance(growth.answer, Plan)
    assert growth.answer.gpus[0].total_bytes == answer.plan.gpus[0].total_bytes + GIB
    assert [item.role for item in answer.alternatives] == ["coder"]


def test_an_optional_role_that_fits_nowhere_is_left_out_and_explained() -> None:
    big = {"task": "general", "models": ["llama-3.3-70b-instruct"], "context": "128k", "optional": True}
    answer = account(fleet(changed(TIGHT, "roles.big", big)), catalog(), "big")

    assert isinstance(answer, Account)
    assert answer.plan.left_out == ("big",)
    assert {server.role for server in answer.plan.servers} == {"coder", "general"}
    assert [item.role for item in answer.left_out] == ["big"]
    assert "big: left out; no variant can serve it\n  too large for the GPUs:\n    " in told(answer, "big")
    assert answer.alternatives == ()


def test_the_command_says_it_for_all_roles_or_one(tmp_path: Path) -> None:
    everything, one = run(TIGHT, tmp_path), run(TIGHT, tmp_path, "general")

    assert (everything.exit_code, one.exit_code) == (0, 0)
    assert "\ncoder: " in everything.stdout
    assert "\ngeneral: " in everything.stdout
    assert "\ncoder: " not in one.stdout
    assert "\ngeneral: " in one.stdout
    assert "1.00 GiB more would give " in one.stdout
    facts = valid("explain", run(TIGHT, tmp_path, "general", "--json").stdout)
    assert [item["role"] for item in facts["alternatives"]] == ["general"]
    assert facts["growths"][0]["answer"]["fleet"] == "pair"


def test_a_role_that_is_not_there_is_refused(tmp_path: Path) -> None:
    result = run(TIGHT, tmp_path, "codr")

    assert result.exit_code == 1
    assert result.stderr == "error: unknown role 'codr'\n  hint: the roles are coder, general\n"


def test_without_a_plan_it_says_what_solve_says(tmp_path: Path) -> None:
    impossible = changed(PAIR, "gpu", "rtx-4090")
    explained = run(impossible, tmp_path)
    solved = CliRunner().invoke(main, ["solve", str(tmp_path / "fleet.yaml")])

    assert (explained.exit_code, explained.stdout) == (3, solved.stdout)


def test_the_text_on_many_gpus() -> None:
    other = RunnerUpServer(
        role="coder", repository="maker/coder-awq", scheme="awq-int4", kv_cache_dtype="auto", max_model_len=16384,
        max_num_seqs=8, accuracy=NAMELESS,
    )  # fmt: skip
    step = Binding(
        role="coder", what="concurrency", now="16", next="18", limit="memory", needed_bytes=GIB, free_bytes=GIB // 2
    )
    servers = [
        server("coder-1", role="coder", gpu_indices=(0,), node="box"),
        server("coder-2", role="coder", gpu_indices=(1,), node="box"),
    ]
    whole = plan(*servers, bindings=(step,))
    gpus = (
        *(replace(gpu, node="box", pool="box") for gpu in whole.gpus),
        replace(whole.gpus[0], node="spare", pool="spare", servers=(), gpu="L40S", free_bytes=40 * GIB),
    )
    whole = replace(whole, gpus=gpus, proof=_staged(whole.proof, 2_000_000))
    larger = [replace(one, max_num_seqs=9) for one in servers]
    grown = replace(plan(*larger), proof=_staged(whole.proof, 2_125_000))
    found = Account(
        plan=whole,
        left_out=(
            LeftOut(role="find", rejections=()),
            LeftOut(
                role="large",
                rejections=(
                    Rejection(role="large", model="m", repository="maker/m", reason="context", wanted=4096, found=2048),
                ),
            ),
        ),
        alternatives=(Alternative(role="coder", runner_up=RunnerUp(servers=(other,), stages=_stages(1_500_000))),),
        growths=(
            Growth(pool="box", more_bytes=GIB, answer=grown),
            Growth(pool="spare", more_bytes=GIB, answer=whole),
            Growth(pool="idle", more_bytes=GIB, answer=whole),
            Growth(pool="slow", more_bytes=GIB, answer=None),
        ),
    )

    assert (
        told(found)
        == """\
coder: Qwen/Qwen2.5-Coder-7B-Instruct, 2 replicas, each with 8 requests at once, context 16k, KV cache auto; accuracy \
unknown
  coder: 18 requests at once instead of 16 would take 1.00 GiB more; 0.50 GiB are free
  without Qwen/Qwen2.5-Coder-7B-Instruct the best plan would have
    coder: maker/coder-awq, 8 requests, context 16k, KV cache auto; accuracy unknown
    it has 25 % less of accuracy and requests at once, taken together

find: left out; what it would take is worth more to the others

large: left out; no variant can serve it
  context.min is 4k:
    maker/m: reads at most 2k

GPUs:
  box GPU 0 and 1, rtx-pro-6000: 68.75 GiB free beside coder; 0.50 GiB more would be the next \
step, coder: concurrency 18
  spare GPU 0, L40S: 40.00 GiB free, not used

1.00 GiB more on each GPU of box would give 6.2 % more of accuracy and requests at once, taken together:
  coder-1 and coder-2: requests at once 9 instead of 8

1.00 GiB more on each GPU of spare or idle would give nothing but free memory

1.00 GiB more on each GPU of slow would give a plan that was not found in time"""
    )


def _stages(value: int) -> tuple[Stage, ...]:
    return (Stage(name="balanced", value=value, bound=value, proven=True),)


def _staged(proof: Proof, value: int) -> Proof:
    return replace(proof, stages=_stages(value))
