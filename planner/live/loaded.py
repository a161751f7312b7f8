"""What load.sh measured of the servers of a plan -> load tests, each of a server that had its GPUs to itself."""

from collections.abc import Iterable, Iterator

from planner.adopt.calibrate_speed import Tested, compared_test
from planner.adopt.load_output import LoadOutput
from planner.catalog import Catalog
from planner.catalog.measured import Measured
from planner.facts.gpu import GPU
from planner.plan import Plan, ServerPlan


def loaded(
    outputs: Iterable[LoadOutput], name: str, digest: str, plan: Plan, gpu: GPU, catalog: Catalog
) -> Iterator[Tested]:
    """Yield what an output of load.sh teaches about the servers of a plan on a kind of GPU.

    Servers that share a GPU and were loaded at the same time waited for each other, which says nothing about one alone.
    """
    outputs = list(outputs)
    there = [one.server for one in outputs]
    for one in outputs:
        where = f"{name}: {one.server}"
        server = next((own for own in plan.servers if own.name == one.server), None)
        why = _why_not(server, there, plan, gpu)
        if why or server is None or isinstance(one.found, str):
            yield Tested(result=where, why_not=why or str(one.found))
        else:
            started = _started(server, plan, gpu)
            yield compared_test(one.found, where, f"{digest} {one.server}", started, gpu, catalog)


def _why_not(server: ServerPlan | None, there: list[str], plan: Plan, gpu: GPU) -> str:
    if server is None:
        return "the plan has no such server"
    kinds = {own.gpu for own in plan.gpus if (own.node, own.index) in server.gpus}
    if kinds != {gpu.name}:
        return f"the plan has it on {' and '.join(sorted(kinds))}"
    beside = [own.name for own in plan.servers if own.name in there and own != server]
    if sharing := [one for one in beside if set(plan.server(one).gpus) & set(server.gpus)]:
        return (
            f"{', '.join(sharing)} on the same GPU was loaded at the same time: load it alone (load.sh {server.name})"
        )
    return ""


def _started(server: ServerPlan, plan: Plan, gpu: GPU) -> Measured:
    """Return a server of a plan as the log of its start would tell of it."""
    return Measured(
        gpu=gpu.name,
        engine_version=plan.engine_version,
        model=server.repository,
        source="",
        flags={name: value for name, value in server.flags.items() if value is not None},
    )
