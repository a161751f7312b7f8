"""Roles whose servers may be in several pools: what such a role cannot be besides."""

from collections import Counter
from collections.abc import Collection, Iterator

from planner.fleet.findings import Findings
from planner.fleet.fleet import Pool
from planner.fleet.schema import SPEED_OBJECTIVES, FleetMap, RoleMap

_KEY = "across_pools"


def check_across(findings: Findings, read: FleetMap, pools: tuple[Pool, ...], turning: Collection[str]) -> None:
    """Refuse ``across_pools`` where what else the fleet says holds only for servers that are all alike.

    ``turning`` are the roles that take turns.
    """
    for name, role in read.roles.items():
        if role.across_pools:
            single = role.replicas == 1 and "replicas" not in findings.source.data["roles"][name]
            for message, hint in _refusals(read, name, role, pools, turning, single):
                findings.refuse(("roles", name, _KEY), message, hint, at_key=True)


def _refusals(
    read: FleetMap, name: str, role: RoleMap, pools: tuple[Pool, ...], turning: Collection[str], single: bool
) -> Iterator[tuple[str, str]]:
    """Yield why the servers of a role cannot be in several pools, and what to do; a ``single`` one nobody asked for.

    That there is one where ``replicas`` says so contradicts nothing: the servers may be in several pools, not must.
    """
    alone = f"leave {_KEY} out, or"
    if name in turning:
        yield "servers in several pools take no turns", f"{alone} take the role out of time_share"
    if role.same_server_as is not None or any(other.same_server_as == name for other in read.roles.values()):
        yield "one server for several roles is in one pool", f"{alone} give each role a server of its own"
    if role.rate is not None or role.users is not None:
        message = "which part of a rate unlike servers keep up with is not worked out"
        yield message, f"{alone} say concurrency in place of {'rate' if role.rate is not None else 'users'}"
    counted = next((one for one in read.objective if one in (*SPEED_OBJECTIVES, "minimal-change")), None)
    if counted:
        yield f"the objective {counted} is counted for servers that are all alike", f"{alone} choose another objective"
    own = [pool for pool in pools if role.pool is None or pool.name in role.pool]
    if len(own) < 2:
        message = f"the role may be in {own[0].name} alone" if role.pool and own else "the fleet has one pool"
        yield message, f"leave {_KEY} out, or name several pools" if role.pool else f"leave {_KEY} out"
    if single:
        yield "a single server is in one pool", f"{alone} set replicas to auto or a number above 1"
    shared = [node for node, count in Counter(node for pool in own for node in pool.node_names).items() if count > 1]
    if role.spread == "node" and shared:
        yield f"two pools of the role are on the node {shared[0]}", f"{alone} name pools on nodes of their own"
