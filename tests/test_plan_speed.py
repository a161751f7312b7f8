"""How fast the servers of a plan are: said where requests have a length, and recomputed by the check."""

import functools

from fleets import PAIR, catalog, changed, fleet
from msgspec.structs import replace

from planner.check import check
from planner.plan import Plan
from planner.solve import solve

LENGTHLESS = changed(changed(PAIR, "roles.general.request", None), "roles.coder.request.prompt_tokens", "2k")


@functools.cache
def plan() -> Plan:
    found = solve(fleet(LENGTHLESS), catalog())
    assert isinstance(found, Plan)
    return found


def test_a_role_without_a_request_length_has_no_speed() -> None:
    coder, general = plan().server("coder"), plan().server("general")

    assert general.speed is None
    assert coder.speed and coder.speed.tpot_us and coder.speed.busy_permille == 2000


def test_a_speed_that_is_not_so_is_found() -> None:
    found = plan()
    coder = found.server("coder")
    assert coder.speed and coder.speed.tpot_us
    faster = replace(coder.speed, tpot_us=replace(coder.speed.tpot_us, value=1))
    servers = tuple(replace(s, speed=faster) if s.name == "coder" else s for s in found.servers)

    assert check(found, fleet(LENGTHLESS), catalog()) == []
    (violation,) = check(replace(found, servers=servers), fleet(LENGTHLESS), catalog())
    assert str(violation) == f"coder: the speed is wrong: tpot_us.value 1, recomputed {coder.speed.tpot_us.value}"
