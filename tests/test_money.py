"""What a plan costs: the hour, and a million tokens, of rented GPUs and of owned ones."""

import functools
from typing import Any

import pytest
from fleets import catalog, changed, fleet
from msgspec.structs import replace
from test_paces import CHAT

from planner import explain
from planner.check import check
from planner.errors import InputError
from planner.fleet import Fleet
from planner.plan import Money, Plan
from planner.solve import solve
from planner.speed.forecast import Range

YEAR_HOURS = 8766


@functools.cache
def _solved(rate: str) -> tuple[Fleet, Plan]:
    document = changed(CHAT, "roles.chat.rate", rate) if rate else CHAT
    found = fleet(changed(changed(document, "gpu.count", 2), "roles.chat.replicas", 2))
    plan = solve(found, catalog())
    assert isinstance(plan, Plan)
    return found, plan


def money(rate: str = "") -> Money:
    own = _solved(rate)[1].money
    assert own
    return own


def test_full_load_is_what_all_servers_put_out() -> None:
    own, plan = money(), _solved("")[1]
    outputs = [server.speed.output_millitokens_per_second for server in plan.servers if server.speed]
    per_second = sum(output.low for output in outputs if output) / 1000

    assert plan.price is not None
    assert plan.price.per_hour == 2.5 * sum(bool(gpu.servers) for gpu in plan.gpus)
    assert plan.price.basis == "gpu.price_per_hour"
    dollars_per_mtok = plan.price.per_hour / 3600 / per_second * 1e6
    assert own.full_load.output.high == pytest.approx(dollars_per_mtok * 1e6, rel=1e-5)
    assert own.full_load.output.low < own.full_load.output.value < own.full_load.output.high
    assert own.full_load.all_tokens.value == pytest.approx(own.full_load.output.value * 300 / 1300, rel=1e-4)


def test_the_planned_rate_is_dearer_than_full_load() -> None:
    own, price = money("0.5/s"), _solved("0.5/s")[1].price

    assert money().planned_load is None
    assert own.planned_load
    assert price is not None
    assert own.planned_load.output.value == pytest.approx(price.per_hour * 1e6 / 3600 / (0.5 * 300) * 1e6, rel=1e-6)
    assert own.planned_load.output.value > own.full_load.output.high
    text = explain.money(own)
    assert len(text.splitlines()) == 2
    assert explain.price(price).endswith("for what is in use (gpu.price_per_hour)")


def test_the_check_finds_another_price() -> None:
    found, plan = _solved("")
    assert plan.price is not None
    free = replace(money().full_load, output=Range(value=1, low=1, high=1))
    forged: tuple[tuple[dict[str, Any], str], ...] = (
        ({"money": replace(money(), full_load=free)}, "money: is not what the prices and speeds say"),
        ({"price": replace(plan.price, per_hour=0.01)}, "price: is not what the GPUs in use cost"),
    )

    assert check(plan, found, catalog()) == []
    for change, said in forged:
        assert [str(one) for one in check(replace(plan, **change), found, catalog())] == [said]


def test_an_owned_card_costs_its_price_spread_and_its_power() -> None:
    document = changed(changed(CHAT, "gpu.price_per_hour", None), "gpu.owned", {"price": 26298, "years": 3})
    plain = fleet(document).pools[0]
    powered = fleet(changed(document, "gpu.owned.electricity_per_kwh", 0.2)).pools[0]
    measured = fleet(changed(changed(document, "gpu.owned.electricity_per_kwh", 0.2), "gpu.owned.watts", 1000)).pools[0]

    assert plain.microdollars_per_gpu_hour == 26298 * 10**6 / (3 * YEAR_HOURS) == 1_000_000
    assert powered.microdollars_per_gpu_hour == 1_000_000 + (plain.gpu.board_watts or 0) * 200
    assert measured.microdollars_per_gpu_hour == 1_200_000
    assert plain.price_source == "gpu.owned"


@pytest.mark.parametrize(
    ("owned", "where"),
    [
        ({"price": 1000}, "gpu.owned.years"),
        ({"price": -1, "years": 3}, "gpu.owned.price"),
        ({"price": 1000, "years": 0}, "gpu.owned.years"),
        ({"price": 1000, "years": 3, "watts": 0}, "gpu.owned.watts"),
        ({"price": 1000, "years": 3, "electricity_per_kwh": "30ct"}, "gpu.owned.electricity_per_kwh"),
        (1600, "gpu.owned.years"),
    ],
)
def test_owned_cards_that_make_no_sense_are_refused(owned: Any, where: str) -> None:  # noqa: ANN401 - any YAML value
    with pytest.raises(InputError) as caught:
        fleet(changed(changed(CHAT, "gpu.price_per_hour", None), "gpu.owned", owned))

    assert [problem.path for problem in caught.value.problems] == [where]


def test_a_card_is_rented_or_owned() -> None:
    with pytest.raises(InputError, match="say the same thing"):
        fleet(changed(CHAT, "gpu.owned", {"price": 1600, "years": 3}))
