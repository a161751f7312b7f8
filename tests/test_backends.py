"""Attention backends: the rules of the data file against what the engines themselves answered."""

import json
from functools import cache

import pytest

from benchmarks.attention_backends import grid
from benchmarks.attention_backends.record import Answers, layer, read
from planner.engine.backends import AttentionLayer, Choice, load_backends
from planner.engine.profile import known_versions
from planner.engine.versions import parse_version

record = cache(read)
ASKED = ("0.20.0", "0.21.0", "0.22.0", "0.23.0", "0.24.0", "0.25.0", "0.26.0", "0.27.0", "0.28.0", "0.29.0", "0.30.0",
         "0.31.0", "0.32.0", "0.33.0")  # fmt: skip


def answer(choice: Choice | None) -> str:
    """Write a choice as the record does; what fails at compilation was not asked."""
    if choice is None or choice.backend is None:
        return "none"
    return choice.backend + ("!" if choice.raises and not choice.compiles else "")


@cache
def questions() -> list[tuple[str, bool, list[tuple[AttentionLayer, int]]]]:
    """Return each line's key in the record, whether attention is latent there, and the layers and devices."""
    return [
        (
            json.dumps(common),
            common["kind"] == "latent",
            [(layer(common, question), int(common["capability"].replace(".", ""))) for question in asked],
        )
        for common, asked in grid.rows()
    ]


@pytest.mark.parametrize("version", ASKED)
def test_the_rules_agree_with_every_answer_of_the_engine(version: str) -> None:
    backends = load_backends(version)
    assert backends is not None
    wrong = []
    for common, latent, asked in questions():
        for (one, capability), expected in zip(asked, record()[common][version], strict=True):
            found = answer(backends.choose(one, capability))
            if latent:  # constructors of latent attention were not asked
                expected, found = expected.removesuffix("!"), found.removesuffix("!")
            if found != expected:
                wrong.append((common, one, found, expected))
    assert wrong == []


def test_every_minor_version_since_the_first_was_asked() -> None:
    since = parse_version(ASKED[0])[:2]
    read_versions = {parse_version(v)[:2] for v in known_versions()}
    assert {minor for minor in read_versions if minor >= since} == {parse_version(v)[:2] for v in ASKED}
    assert all(set(said) >= set(ASKED) for said in record().values())


def refused(said: Answers) -> int:
    return sum(
        text == "none" or text.endswith("!") for row in said.values() for answers in row.values() for text in answers
    )


def test_the_engines_do_refuse() -> None:
    """Without refusals in the record an agreement would say little."""
    assert refused(record()) > 10_000


GPT_OSS = AttentionLayer(kind="decoder", head_size=64, dtype="bfloat16", cache="fp8", sinks=True, window=True)
SPARSE = AttentionLayer(
    kind="latent", head_size=576, dtype="bfloat16", cache="auto", heads=16, index_topk=2048, nope_head_dim=192,
    rope_head_dim=64, value_head_dim=256,
)  # fmt: skip


def test_an_fp8_cache_with_sinks_is_left_to_a_backend_that_needs_8_9() -> None:
    backends = load_backends("0.33.0")
    assert backends
    choice = backends.choose(GPT_OSS, 86)
    assert choice and (choice.backend, choice.raises, choice.starts) == ("TRITON_ATTN", "8.9", False)
    assert {one.backend: one.facts for one in choice.refused} == {
        "FLASH_ATTN": ("capability",),
        "FLASHINFER": ("sinks",),
    }
    later = backends.choose(GPT_OSS, 89)
    assert later and later.starts


@pytest.mark.parametrize(("version", "capability", "starts"), [
    ("0.33.0", 80, False), ("0.33.0", 89, False), ("0.33.0", 90, True), ("0.33.0", 100, True), ("0.33.0", 120, True),
    ("0.23.0", 120, False), ("0.24.0", 120, True), ("0.20.0", 90, True),
])  # fmt: skip
def test_sparse_latent_attention_has_kernels_by_version_and_device(version: str, capability: int, starts: bool) -> None:
    backends = load_backends(version)
    assert backends
    choice = backends.choose(SPARSE, capability)
    assert choice and choice.starts is starts
