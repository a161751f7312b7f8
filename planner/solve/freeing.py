"""Freeing: from the plan that runs to one in which a node, or GPUs side by side, have no server, in few moves."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from planner.fleet import Fleet, Role
from planner.options.problem import apart, pools, turns
from planner.plan import Plan, ServerPlan
from planner.plan.freeing import FreedPlan, Freeing
from planner.search.budget import BUDGET
from planner.search.freeing import Unit, freed, possible
from planner.search.problem import MINIMAL_CHANGE, Block, Candidate, PoolProblem, Problem, RoleProblem
from planner.solve.assemble import group_of, ledgers
from planner.solve.hold import block_of
from planner.solve.moves import moves_between


def free(fleet: Fleet, plan: Plan, asked: Freeing, budget: int = BUDGET) -> FreedPlan:
    """Return the plan that frees what is asked with the fewest moves, or why none does.

    Every server keeps what it is, its name and its port; only where it is may change, within its pool.

    Raises:
        BudgetSpent: neither was shown within the budget.
    """
    groups = _groups(fleet, plan)
    problem = _problem(fleet, groups)
    found_units = list(_units(fleet, asked))
    names, units = [name for name, _ in found_units], [unit for _, unit in found_units]
    wanted = asked.count if asked.what == "nodes" else 1
    if wanted > len(units):
        return FreedPlan(asked=asked, reason=_too_many(fleet, asked))
    found = freed(problem, units, wanted, budget)
    if found is None:
        return FreedPlan(asked=asked, reason=_reason(problem, groups, units, wanted, budget))
    placed = [
        one
        for (_, servers), blocks in zip(groups, found.blocks, strict=True)
        for one in _placed(fleet, servers, blocks)
    ]
    servers = tuple(sorted(placed, key=lambda server: server.name))
    new = replace(plan, servers=servers, gpus=tuple(ledgers(fleet, servers)))
    return FreedPlan(
        asked=asked,
        free=tuple(names[unit] for unit in found.units),
        moved=found.moved,
        at_least=found.bound,
        plan=new,
        moves=moves_between(fleet, plan, new),
    )


def _groups(fleet: Fleet, plan: Plan) -> list[tuple[Role, list[ServerPlan]]]:
    """Return the servers of each role, those of one pool together: they are alike, and stay in it."""
    found: dict[tuple[str, int], list[ServerPlan]] = {}
    for server in sorted(plan.servers, key=lambda server: (server.role, len(server.name), server.name)):
        first = block_of(fleet, server.groups[0])
        assert first is not None
        found.setdefault((server.role, first.pool), []).append(server)
    return [(fleet.role(role), servers) for (role, _), servers in found.items()]


def _problem(fleet: Fleet, groups: Sequence[tuple[Role, list[ServerPlan]]]) -> Problem:
    """Return the problem of where servers are that is all that is left to be decided."""
    shapes = pools(fleet)
    roles = [role for role, _ in groups]
    return Problem(
        roles=tuple(_role(fleet, role, servers, shapes) for role, servers in groups),
        pools=shapes,
        stages=(MINIMAL_CHANGE,),
        apart=apart(roles),
        turns=turns(fleet, roles) if len({role.name for role in roles}) == len(roles) else (),
        host=None,
    )


def _role(fleet: Fleet, role: Role, servers: Sequence[ServerPlan], shapes: Sequence[PoolProblem]) -> RoleProblem:
    one = servers[0]
    stays = tuple(block for server in servers for block in _blocks(fleet, server))
    size = one.ledger.total_bytes
    pool = stays[0].pool
    together = max(Counter(gpu for block in stays for gpu in block.gpus).values())
    alone = role.replicas is None or role.spread is not None or role.wants_speed
    fit = max(1, shapes[pool].capacity // size)
    candidate = Candidate(
        pool=pool,
        width=stays[0].width,
        stages=len(one.groups),
        across=len(one.nodes) > 1,
        blocks=len(servers),
        fixed=size,
        per_sequence=0,
        kv_floor=0,
        kv_per_sequence=0,
        peak_floor=0,
        peak_base=0,
        peak_per_sequence=0,
        least=1,
        most=1,
        worth=((len(servers), 0),),
        stays=stays,
        asleep=one.asleep.gpu_bytes if one.asleep else 0,
    )
    return RoleProblem(
        name=role.name,
        candidates=(candidate,),
        stacked=together if alone else max(together, min(len(servers), fit)),
        spread=role.spread == "node",
    )


def _blocks(fleet: Fleet, server: ServerPlan) -> Iterator[Block]:
    for group in server.groups:
        block = block_of(fleet, group)
        assert block is not None
        yield block


def _units(fleet: Fleet, asked: Freeing) -> Iterator[tuple[str, Unit]]:
    """Yield what may be freed: every node, or all neighbouring GPUs of a node that a server of the width could have."""
    if asked.what == "nodes":
        on: dict[str, list[tuple[int, int, int]]] = {}
        for position, pool in enumerate(fleet.pools):
            for node, name in enumerate(pool.node_names):
                on.setdefault(name, []).extend((position, node, index) for index in range(pool.gpus_per_node))
        yield from ((name, frozenset(gpus)) for name, gpus in on.items())
        return
    for position, pool in enumerate(fleet.pools):
        for node, name in enumerate(pool.node_names):
            for first in range(0, pool.gpus_per_node - asked.count + 1, asked.count):
                gpus = [pool.gpu_index + first + index for index in range(asked.count)]
                text = f"GPU {gpus[0]}" + (f" to {gpus[-1]}" if len(gpus) > 1 else "")
                yield f"{text} of {name}", frozenset((position, node, first + index) for index in range(asked.count))


def _placed(fleet: Fleet, servers: Sequence[ServerPlan], blocks: Sequence[Block]) -> Iterator[ServerPlan]:
    """Yield the servers on their blocks: those that stay keep their names, the others take what is left in order."""
    stages = len(servers[0].groups)
    places = [
        tuple(group_of(fleet, block) for block in blocks[at : at + stages]) for at in range(0, len(blocks), stages)
    ]
    moving = []
    for server in servers:
        if server.groups in places:
            places.remove(server.groups)
            yield server
        else:
            moving.append(server)
    for server, place in zip(moving, places, strict=True):
        yield replace(server, node=place[0].node, gpu_indices=place[0].gpu_indices, later_stages=tuple(place[1:]))


def _too_many(fleet: Fleet, asked: Freeing) -> str:
    nodes = len({name for pool in fleet.pools for name in pool.node_names})
    if asked.what == "nodes":
        return f"the fleet has {nodes} node{'s' * (nodes > 1)}"
    return f"no node has {asked.count} neighbouring GPUs"


def _reason(
    problem: Problem, groups: Sequence[tuple[Role, list[ServerPlan]]], units: Sequence[Unit], wanted: int, budget: int
) -> str:
    """Say what is in the way: the memory of all other GPUs, or the first rule without which it would do."""
    loose = replace(problem, roles=tuple(replace(role, spread=False) for role in problem.roles))
    if any(role.spread for role in problem.roles) and possible(loose, units, wanted, budget):
        names = [role.name for role, _ in groups if role.spread == "node"]
        return f"the replicas of {' and '.join(dict.fromkeys(names))} must be on nodes of their own (spread: node)"
    stacked = tuple(replace(role, stacked=role.candidates[0].blocks) for role in problem.roles)
    if possible(replace(problem, roles=stacked), units, wanted, budget):
        return "replicas of one role would have to share GPUs, which spread: gpu or their speed does not allow"
    if problem.apart and possible(replace(problem, apart=frozenset()), units, wanted, budget):
        pairs = itertools.chain.from_iterable(problem.apart)
        names = sorted({groups[position][0].name for position in pairs})
        return f"roles that do not share GPUs leave no room: {', '.join(names)} (exclusive, share_with)"
    free_of_rules = replace(problem, apart=frozenset(), roles=tuple(replace(role, spread=False) for role in stacked))
    if possible(free_of_rules, units, wanted, budget):
        return "what may not share GPUs or nodes leaves no room: exclusive, share_with and spread together"
    return "the servers that are there do not fit the memory of the other GPUs"
