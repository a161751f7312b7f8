"""Options: what is tried, what is turned away and why, and that pruning loses nothing."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any, cast

import pytest
from fleets import PAIR, catalog, changed, fleet
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from problems import headroom, plans, values

from planner.engine.profile import load_profile
from planner.memory.demand import Demand
from planner.options import Considered, Option, Prepared, Rejection, prepare
from planner.options.ladders import batches, contexts, sequence_limits, servers
from planner.options.limits import engine_refusal
from planner.options.problem import candidate, losses, stages
from planner.options.prune import Front, Shape, never_larger, spans
from planner.options.worth import Measure, Worth
from planner.search.pieces import pieces
from planner.search.problem import PoolProblem, Problem, RoleProblem


def prepared(document: dict[str, Any]) -> Prepared:
    found = fleet(document)
    return prepare(found, catalog(), load_profile(found.engine_version))


def rejections(document: dict[str, Any], role: str) -> list[Rejection]:
    return [item for found in prepared(document).roles for item in found.rejections if item.role == role]


@given(st.integers(1, 1 << 18), st.integers(0, 1 << 18), st.integers(1, 1 << 18))
def test_contexts_go_from_the_least_to_the_wish_within_the_limit(least: int, more: int, limit: int) -> None:
    lengths = contexts(least, least + more, limit)

    if limit < least:
        assert lengths == ()
    else:
        assert lengths[0] == least
        assert lengths[-1] == min(least + more, limit)
        assert list(lengths) == sorted(set(lengths))
        assert all(later <= 2 * earlier for earlier, later in itertools.pairwise(lengths))


@given(st.integers(1, 1 << 15), st.integers(1, 1 << 15))
def test_batches_start_at_the_default_and_never_fall_below_the_least(default: int, least: int) -> None:
    sizes = batches(default, least)

    assert sizes[0] == max(default, least)
    assert all(size >= least for size in sizes)


@given(st.integers(1, 500), st.integers(0, 500))
def test_sequence_limits_cover_everything_between_minimum_and_target(least: int, more: int) -> None:
    limits = sequence_limits(least, least + more)

    assert limits[0] == least + more
    assert all(limit >= least for limit in limits)


def test_every_variant_is_an_option_or_turned_away() -> None:
    everything = prepared(PAIR)
    for found in everything.roles:
        seen = {option.variant.repository for option in found.options}
        refused = {item.repository for item in found.rejections}
        sized = {
            option.variant.repository for option in Considered(found.role, everything.places, catalog()).smallest()
        }

        assert seen <= sized
        for model in found.role.models:
            assert {variant.repository for variant in model.variants} <= sized | refused


def test_options_fit_an_empty_gpu_and_keep_the_roles_minima() -> None:
    found = prepared(PAIR)
    for group in found.roles:
        assert group.options
        for option in group.options:
            assert option.least_bytes <= found.places[option.pool].capacity_bytes
            assert option.max_model_len >= group.role.context_min
            assert option.sequences_min == group.role.concurrency_min <= option.sequences_max


def test_what_a_target_asks_for_takes_nothing_of_what_the_minimum_needs() -> None:
    least = [
        [min(option.least_bytes for option in found.options) for found in prepared(document).roles]
        for document in (changed(PAIR, "roles.coder.concurrency", {"min": 4, "target": n}) for n in (4, 5, 7, 4000))
    ]

    assert all(sizes == least[0] for sizes in least)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("roles.coder.schemes", ["awq-int4"], "scheme"),
        ("roles.coder.variant", "TheBloke/deepseek-coder-33B-instruct-AWQ", "variant"),
        ("roles.coder.accuracy.recovery", 98.5, "recovery"),
        ("roles.coder.accuracy.score", 41, "score"),
        ("gpu.name", "rtx-4080", "memory"),
    ],
)
def test_variants_are_turned_away_with_the_reason(path: str, value: object, reason: str) -> None:
    assert reason in {item.reason for item in rejections(changed(PAIR, path, value), "coder")}


def test_a_candidate_without_a_score_is_turned_away_beside_one_that_has_a_score() -> None:
    tables, role = catalog().accuracy, fleet(PAIR).role("general")
    scale = tables.scale_for("general", role.models)
    unscored = catalog().find("DeepSeek-V2-Lite-Chat")[0]  # of the same year, so that the benchmark knows its time
    assert all(score.scale != scale for score in tables.scores(unscored))
    names = ["mistral-7b-instruct-v0.3", unscored.repository]

    found = rejections(changed(PAIR, "roles.general.models", names), "general")

    assert {item.detail for item in found if item.reason == "unscored"} == {scale}
    assert rejections(changed(PAIR, "roles.general.models", names[1:]), "general") == []


def test_a_checkpoint_newer_than_the_engine_is_turned_away() -> None:
    model = fleet(PAIR).roles[0].models[0]
    profile = load_profile("0.33.0")

    assert engine_refusal(model, model.variants[0], profile) == ""
    assert engine_refusal(replace(model, engine_minimum="0.34.0"), model.variants[0], profile) == "0.34.0"


def test_an_fp8_cache_is_not_offered_where_published_evidence_says_it_ruins_the_model() -> None:
    model = next(model for model in catalog().models if "fp8" in model.cache_refusals)
    document = changed(PAIR, "roles.general.models", [model.repository])

    caches = {option.kv_cache_dtype for option in prepared(document).roles[1].options}

    assert caches == {"auto"}
    assert {item.reason for item in rejections(document, "general")} == {"capability"}


def worths() -> st.SearchStrategy[Worth]:
    small = st.integers(0, 3)
    return st.builds(
        Worth,
        accuracy=small,
        accuracy_left=small,
        context=small,
        batch=small,
        served_base=st.just(0),
        served=st.just(2),
    )


@st.composite
def options(draw: st.DrawFn) -> Option:
    small = st.integers(0, 6)
    most = draw(st.integers(1, 4))
    demand = Demand(
        fixed_bytes=draw(st.integers(0, 12)),
        null_block_bytes=0,
        state_bytes_per_sequence=draw(st.integers(0, 2)),
        kv_floor_bytes=draw(small),
        kv_bytes_per_sequence=draw(small),
        activation_floor_bytes=draw(small),
        activation_base_bytes=draw(small),
        activation_bytes_per_sequence=draw(small),
        sequences_max=most,
    )
    return Option(
        role="r",
        pool=draw(st.integers(0, 1)),
        replicas=1,
        model=cast(Any, None),
        variant=cast(Any, _Named(draw(st.sampled_from("abc")))),
        server=cast(
            Any, _Started(_Split(*draw(st.sampled_from([(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2), (2, 1, 2)]))))
        ),
        request_tokens=1,
        sequences_min=1,
        sequences_max=most,
        accuracy=cast(Any, None),
        demand=demand,
        least_bytes=demand.footprint(1),
        worth=draw(worths()),
    )


@dataclasses.dataclass(frozen=True)
class _Named:
    repository: str


@dataclasses.dataclass(frozen=True)
class _Split:
    tensor_parallel_size: int
    pipeline_parallel_size: int
    data_parallel_size: int

    @property
    def ranks(self) -> int:
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size


@dataclasses.dataclass(frozen=True)
class _Started:
    flags: _Split


roles = st.lists(st.lists(options(), min_size=1, max_size=7), min_size=1, max_size=2)
objectives = st.sampled_from([("balanced",), ("accuracy",), ("concurrency", "accuracy"), ("context", "accuracy")])


def problem(groups: list[list[Option]], objective: tuple[str, ...], capacity: int) -> Problem:
    names = stages(objective)
    members = [tuple(candidate(1, option, names) for option in group) for group in groups]
    return Problem(
        roles=tuple(RoleProblem(name=f"r{index}", candidates=group) for index, group in enumerate(members)),
        pools=(PoolProblem(capacity=capacity, width=2), PoolProblem(capacity=capacity, width=2, nodes=(1,))),
        stages=names,
    )


def best(found: Problem) -> tuple[int, ...] | None:
    """Return the values of the best plan, headroom last."""
    return max(((*values(found, plan), headroom(found, plan)) for plan in plans(found)), default=None)


@settings(max_examples=150, deadline=None)
@given(roles, objectives, st.integers(0, 60))
def test_pruning_loses_no_optimum(groups: list[list[Option]], objective: tuple[str, ...], capacity: int) -> None:
    everything = problem(groups, objective, capacity)

    assert best(everything) == best(pieces(everything).problem)


@given(options(), options())
def test_never_larger_is_so_for_every_number_of_sequences(one: Option, other: Option) -> None:
    counts = range(other.sequences_min, other.sequences_max + 1)
    larger = any(one.demand.footprint(count) > other.demand.footprint(count) for count in counts)

    assert never_larger(one.demand, other.demand, counts[0], counts[-1]) != larger


@given(st.integers(1, 10_000), st.integers(0, 10_000))
def test_a_share_falls_by_whole_points_and_never_exceeds_one(best: int, less: int) -> None:
    figure = max(0, best - less)
    share = Measure(kind="score", best=best).share(figure)

    assert share <= 1_000_000
    assert (share == 1_000_000) == (best - figure < 100)


@settings(max_examples=200, deadline=None)
@given(st.lists(options(), min_size=1, max_size=9), objectives, st.booleans(), st.integers(0, 60))
def test_what_a_front_beats_is_needed_by_no_plan_even_without_one_variant(
    every: list[Option], objective: tuple[str, ...], in_all: bool, capacity: int
) -> None:
    front = Front(losses(stages(objective)), in_all=in_all)
    kept = []
    for option in sorted(every, key=lambda option: front.loss(option.worth)(option.sequences_max)):
        if not front.beats(_shape(option), option.worth, option.sequences_min, option.sequences_max, _size(option)):
            front.add(option)
            kept.append(option)

    for missing in ("", "a", "b", "c"):
        before = [option for option in every if option.variant.repository != missing]
        after = [option for option in kept if option.variant.repository != missing]
        whole, fewer = (problem([group], objective, capacity) for group in (before, after))
        assert best(whole) == best(fewer)


@given(st.integers(1, 100_000), st.integers(0, 100_000))
def test_groups_of_sequences_are_few_and_leave_none_out(least: int, more: int) -> None:
    found = spans(least, least + more)

    assert found[0][0] == least
    assert found[-1][1] == least + more
    assert all(last + 1 == first for (_, last), (first, _) in itertools.pairwise(found))
    assert len(found) <= 60


def _shape(option: Option) -> Shape:
    return Shape(option.layout, option.needs, option.variant.repository)


def _size(option: Option) -> Callable[[int], int]:
    return option.demand.footprint


def test_every_number_of_servers_is_tried_where_there_are_few_and_steps_are_small_beyond() -> None:
    found = servers(10_000)

    assert servers(5) == (1, 2, 3, 4, 5)
    assert found[:128] == tuple(range(1, 129))
    assert found[-1] == 10_000
    assert all(one < other <= one + one // 64 for one, other in itertools.pairwise(found[127:]))
