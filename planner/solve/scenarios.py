"""Scenarios: the plan of every one of them, solved side by side on the local cores, always listed in the order asked.

Every worker is started once, from a server process that has the solver loaded, and keeps what it has read of the
catalog; so a scenario costs what it takes to solve it.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeAlias

from msgspec import Struct

from planner.catalog import Catalog
from planner.check import require
from planner.fleet import Fleet, FleetFile, Price, Scenario, fleets, hourly_price
from planner.plan import NoPlan, Plan
from planner.search.budget import BUDGET, BudgetSpent, spending
from planner.solve.whole import whole

_Answer: TypeAlias = Plan | NoPlan | None
_Asked: TypeAlias = tuple[Fleet, Plan | None]
"""A fleet, and the plan that its own follows."""


class ScenarioOutcome(Struct, frozen=True, kw_only=True):
    """One scenario and its answer, without a runner-up; None when the budget ran out before there was one.

    ``before`` is the plan that it follows, where it loses nodes on which that runs.
    """

    scenario: Scenario
    fleet: Fleet
    answer: Plan | NoPlan | None
    price: Price | None
    before: Plan | None = None


def what_if(
    written: FleetFile,
    wanted: Sequence[Scenario],
    catalog: Catalog,
    budget: int = BUDGET,
    workers: int | None = None,
    running: Plan | None = None,
) -> Iterator[ScenarioOutcome]:
    """Yield the outcome of every scenario, in their order; every plan has passed the independent check.

    ``workers`` is the number of processes, by default one for each core this process may use. A scenario that loses
    nodes follows the plan that is ``running``, or else the one of the fleet as it is written.

    Raises:
        InputError: a scenario makes no valid fleet; nothing is solved then.
        CheckFailed: a plan does not keep its promises.
    """
    found = fleets(written, wanted, catalog)
    if running is None and any(scenario.loses for scenario in wanted):
        first = _answer((fleets(written, [Scenario()], catalog)[0], None), catalog, budget)
        running = first if isinstance(first, Plan) else None
    asked = [(fleet, running if scenario.loses else None) for fleet, scenario in zip(found, wanted, strict=True)]
    with _answering(catalog, budget, min(workers or _cores(), len(found))) as answers:
        for scenario, (fleet, before), answer in zip(wanted, asked, answers(asked), strict=True):
            price = hourly_price(fleet)
            yield ScenarioOutcome(scenario=scenario, fleet=fleet, answer=answer, price=price, before=before)


@contextmanager
def _answering(
    catalog: Catalog, budget: int, workers: int
) -> Iterator[Callable[[Sequence[_Asked]], Iterable[_Answer]]]:
    """Yield what turns fleets into answers, in their order."""
    if workers == 1:
        yield lambda found: (_answer(asked, catalog, budget) for asked in found)
        return
    with ProcessPoolExecutor(workers, _context(), _start_worker, (catalog, budget)) as pool:
        yield lambda found: pool.map(_work, found)


def _context() -> multiprocessing.context.BaseContext:
    """Return the way to start workers: forked from a process that has loaded this module, where the system can."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _answer(asked: _Asked, catalog: Catalog, budget: int) -> _Answer:
    fleet, before = asked
    try:
        with spending(budget):
            found = whole(fleet, catalog, budget, before)
    except BudgetSpent:
        return None
    if isinstance(found, NoPlan):
        return found
    require(found.plan, fleet, catalog)
    return found.plan


_worker: dict[str, tuple[Catalog, int]] = {}
"""What a worker process was started with."""


def _start_worker(catalog: Catalog, budget: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the one that began them ends them
    _worker["given"] = (catalog, budget)


def _work(asked: _Asked) -> _Answer:
    return _answer(asked, *_worker["given"])
