"""What a reader sees: whole texts from facts made by hand, and for every kind of fact a sentence."""

import typing

import pytest
from msgspec.structs import replace
from plans import NAMELESS, plan, server

from planner import explain
from planner.facts.accuracy import Accuracy
from planner.options import Rejection
from planner.options.option import Reason
from planner.plan import (
    Binding,
    Change,
    Conflict,
    Cost,
    Need,
    NoPlan,
    Requirement,
    RunnerUp,
    RunnerUpServer,
    Stage,
    Supply,
)
from planner.units import GIB

AWQ = Accuracy(
    scale="bigcodebench", score=4032, score_floor=3990, recovery_median=9600, recovery_floor=9500, label="default",
    source="2 models", score_source="a leaderboard",
)  # fmt: skip
NEED = Need(
    role="coder", needed_bytes=70 * GIB + 1, repository="maker/coder-33b", kv_cache_dtype="fp8", max_model_len=16384,
    max_num_seqs=1, max_num_batched_tokens=512,
)  # fmt: skip
CONFLICT = Conflict(
    requirements=(Requirement(path="roles.coder", value=""), Requirement(path="roles.coder.schemes", value="bf16")),
    deficit_bytes=GIB, decisive=True,
)  # fmt: skip
NO_PLAN = NoPlan(
    fleet="workstation",
    gpus=(Supply(pool="gpu", gpu="RTX PRO 6000", count=1, capacity_bytes=95 * GIB - 1),),
    empty_roles=(),
    rejections=(),
    needs=(NEED, replace(NEED, role="general", needed_bytes=30 * GIB, max_num_seqs=2)),
    deficit_bytes=5 * GIB + 2,
    conflicts=(CONFLICT,),
    changes=(
        Change(path="roles.coder.schemes", before="bf16", after="bf16, awq-int4", accuracy=AWQ),
        Change(path="gpu.count", before="1", after="2", accuracy=None),
        Change(path="roles.general", before="", after="", accuracy=None),
    ),
)


def test_a_fleet_that_does_not_fit_is_told_what_by_how_much_why_and_what_helps() -> None:
    expected = """\
no plan exists for workstation on 1 × RTX PRO 6000

The least that each role takes:
  coder      70.00 GiB  maker/coder-33b, 16k context, 1 request, KV cache fp8, batch 512
  general    30.00 GiB  maker/coder-33b, 16k context, 2 requests, KV cache fp8, batch 512
  together  100.00 GiB  of 95.00 GiB on the GPU: 5.01 GiB too little

These requirements alone need 1.00 GiB more than there is; without any one of them there is a plan:
  roles.coder must be served
  roles.coder.schemes: bf16

Each of these changes alone makes a plan possible, the least first:
hint: set roles.coder.schemes to bf16, awq-int4 instead of bf16 \
(40.3 on bigcodebench; keeps 96 % of the unquantized score, at least 95 % (default))
hint: set gpu.count to 2 instead of 1
hint: leave out roles.general"""

    assert expected == explain.no_plan(NO_PLAN)


def test_a_role_without_options_is_told_every_reason() -> None:
    rejection = Rejection(role="coder", model="coder", repository="maker/coder-33b-AWQ", reason="context",
                          wanted=32768, found=16384)  # fmt: skip
    found = replace(
        NO_PLAN, empty_roles=("coder",), rejections=(rejection,), needs=(), deficit_bytes=0,
        conflicts=(replace(CONFLICT, deficit_bytes=0),), changes=(),
    )  # fmt: skip
    expected = """\
no plan exists for workstation on 1 × RTX PRO 6000

coder: no variant can serve it, even with the GPU to itself
  context.min is 32k:
    maker/coder-33b-AWQ: reads at most 16k

Nothing meets these requirements together; without any one of them there is a plan:
  roles.coder must be served
  roles.coder.schemes: bf16

hint: no single change makes a plan possible; drop or relax several of the requirements above"""

    assert expected == explain.no_plan(found)


def test_reasons_say_what_binds_and_what_is_next() -> None:
    def binding(
        role: str, what: str, now: str, then: str, limit: str, needed: int = 0, free: int = 0, cost: Cost | None = None
    ) -> Binding:
        return Binding(
            role=role, what=what, now=now, next=then, limit=limit, needed_bytes=needed, free_bytes=free, cost=cost
        )

    stages = (Stage(name="balanced", value=1_950_000, bound=1_950_000, proven=True),)
    other = RunnerUpServer(
        role="coder", repository="maker/coder-33b-AWQ", scheme="awq-int4", kv_cache_dtype="fp8", max_model_len=8192,
        max_num_seqs=4, accuracy=AWQ,
    )  # fmt: skip
    found = replace(
        plan(server("coder"), proof=replace(plan(server("coder")).proof, stages=stages)),
        bindings=(
            binding("coder", "concurrency", "4", "5", "memory", GIB, GIB // 2),
            binding("coder", "context", "16384", "", "model"),
            binding("coder", "batched tokens", "8192", "", "engine"),
            binding(
                "coder",
                "variant",
                "maker/coder-33b",
                "maker/better",
                "objective",
                cost=Cost(what="concurrency", now=4, then=1),
            ),
            binding(
                "general",
                "variant",
                "maker/general",
                "maker/best",
                "objective",
                cost=Cost(what="context", now=8192, then=4096),
            ),
            binding("general", "concurrency", "8", "", "wish"),
            binding("general", "context", "8192", "", "wish"),
            binding(
                "summary",
                "context",
                "32768",
                "65536",
                "objective",
                cost=Cost(what="recovery", now=9900, then=9650),
            ),
        ),
        runner_up=RunnerUp(servers=(other,), stages=(replace(stages[0], value=1_900_000),)),
    )
    expected = """\
What keeps each role from more:
  coder: 5 requests at once instead of 4 would take 1.00 GiB more; 0.50 GiB are free
  coder: the model reads no more than 16k tokens
  coder: maker/better, which is more accurate, would leave room for only 1 request at once instead of 4, with the \
other roles as they are
  general has the requests asked for and the context wished for
  general: maker/best, which is more accurate, would leave room for only a context of 4k instead of 8k tokens, with \
the other roles as they are
  summary: a context of 64k tokens instead of 32k tokens would keep 96.5 % of the unquantized score instead \
of 99 %

Next best combination of variants:
  coder: maker/coder-33b-AWQ, 4 requests, context 8k, KV cache fp8; 40.3 on bigcodebench; keeps 96 % of the \
unquantized score, at least 95 % (default)
  it has 2.6 % less of accuracy and requests at once, taken together"""

    assert expected == explain.reasons(found)


@pytest.mark.parametrize("reason", typing.get_args(Reason))
def test_every_reason_has_a_sentence(reason: Reason) -> None:
    found = Rejection(
        role="r", model="m", repository="maker/m", reason=reason, wanted=9_500, found=9_000, detail="a detail"
    )

    reason_line, variant_line = explain.rejection_lines([found])

    assert reason_line.endswith(":")
    assert len(reason_line) > len(":")
    assert variant_line.startswith("  maker/m")


def test_variants_out_for_one_reason_are_told_together_the_closest_first() -> None:
    def too_large(name: str, cache: str, wanted_gib: int) -> Rejection:
        return Rejection(role="r", model="m", repository=name, kv_cache_dtype=cache, reason="memory", pool="gpu",
                         wanted=wanted_gib * GIB, found=24 * GIB, tensor_parallel_size=2)  # fmt: skip

    found = [
        Rejection(role="r", model="m", repository="maker/a", kv_cache_dtype="fp8", reason="capability", detail="no"),
        Rejection(role="r", model="m", repository="maker/b", kv_cache_dtype="fp8", reason="capability", detail="no"),
        *(too_large("maker/a", cache, size) for cache, size in (("auto", 40), ("fp8", 30))),
        *(too_large(f"maker/{number}", "auto", 30 + number) for number in range(1, 6)),
    ]
    expected = [
        "no:", "  maker/a with KV cache fp8", "  maker/b with KV cache fp8",
        "too large for the GPUs:",
        "  maker/a with KV cache fp8: takes 30.00 GiB of the 24.00 GiB of each of 2 GPUs",
        *(f"  maker/{number}: takes {30 + number}.00 GiB of the 24.00 GiB of each of 2 GPUs" for number in (1, 2, 3)),
        "  … and 2 more",
    ]  # fmt: skip

    assert expected == list(explain.rejection_lines(found))


def test_unknown_accuracy_is_called_unknown() -> None:
    change = Change(path="roles.coder.kv_cache_dtype", before="auto", after="fp8", accuracy=NAMELESS)

    assert "accuracy unknown" in explain.no_plan(replace(NO_PLAN, changes=(change,)))
