"""Which roles of a fleet take turns on the same memory, and what they do in between."""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

from planner.engine.versions import parse_version
from planner.fleet import values
from planner.fleet.findings import Findings
from planner.fleet.fleet import DEEP_SLEEP, SLEEP, STOP, Pool, TimeShare
from planner.fleet.schema import TURN_KEYS, FleetMap, RoleMap
from planner.yaml_source import FieldPath

FIRST_WITH_SLEEP = "0.7.0"
"""The first engine version with ``--enable-sleep-mode`` (vllm-project/vllm#11743)."""

_MOST_SETS = 1000
"""Sets of roles that may be awake together, beyond which neither a plan nor a reader can list them."""


def time_share(findings: Findings, read: FleetMap, pools: tuple[Pool, ...]) -> tuple[TimeShare, ...]:
    """Return the groups of roles that take turns; what is wrong with them is noted in ``findings``."""
    given = [key for key in TURN_KEYS if getattr(read, key) is not None]
    if not given:
        return ()
    if read.time_share is None and read.max_resident is None:
        hint = "say which roles take turns: time_share: [[writer, painter]]"
        findings.refuse(("between_turns",), "nothing takes turns", hint, at_key=True)
        return ()
    machines = sorted({node for pool in pools for node in pool.node_names})
    if len(machines) > 1:
        message = f"turns are taken on one machine, and this fleet has {len(machines)}"
        findings.refuse((given[0],), message, "write a fleet for each machine", at_key=True)
    _check_sleep(findings, read, pools)
    return tuple(_groups(findings, read))


def sleep_refusal(pools: Sequence[Pool], between_turns: str, version: str | None = None) -> str:
    """Return why servers on these GPUs cannot sleep, nothing when they can."""
    if between_turns == STOP:
        return ""
    for pool in pools:
        if pool.gpu.vendor not in ("nvidia", "amd"):
            return f"the engine's sleep mode is for CUDA and ROCm, not for {pool.gpu.name}"
        if pool.gpu.integrated and between_turns == SLEEP:
            return f"{pool.gpu.name} shares its memory with the machine: weights that sleep there free nothing"
    if version and parse_version(version) < parse_version(FIRST_WITH_SLEEP):
        return f"vLLM {version} has no sleep mode, {FIRST_WITH_SLEEP} is the first version with it"
    return ""


def _check_sleep(findings: Findings, read: FleetMap, pools: tuple[Pool, ...]) -> None:
    if read.between_turns and (refusal := sleep_refusal(pools, read.between_turns, read.engine.version)):
        other = f"{DEEP_SLEEP} or {STOP}" if "shares its memory" in refusal else STOP
        findings.refuse(("between_turns",), refusal, f"write {other}, or leave the key out")


def _groups(findings: Findings, read: FleetMap) -> Iterator[TimeShare]:
    awake = read.max_resident or 1
    if read.time_share is None:
        here: FieldPath = ("max_resident",)
        everybody = sorted(name for name, role in read.roles.items() if role.same_server_as is None)
        if _sound(findings, here, everybody, awake, read.roles):
            yield TimeShare(roles=tuple(everybody), awake=awake)
        return
    owners: dict[str, int] = {}
    for number, group in enumerate(read.time_share):
        listed: FieldPath = ("time_share", number)
        here = listed if (*listed, 0) in findings.source.values else ("time_share",)  # one group may stand alone
        _check_names(findings, here, group, number, owners, read.roles)
        owners |= {name: owners.get(name, number) for name in group}
        names = sorted(set(group) & set(read.roles))
        if len(names) == len(group) and _sound(findings, here, names, awake, read.roles):
            yield TimeShare(roles=tuple(names), awake=awake)


def _check_names(
    findings: Findings,
    here: FieldPath,
    group: Sequence[str],
    number: int,
    owners: dict[str, int],
    roles: dict[str, RoleMap],
) -> None:
    """Refuse names of no role, and roles that are in a group already: this one or another."""
    for index, name in enumerate(group):
        place = (*here, index) if (*here, index) in findings.source.values else here
        if name not in roles:
            hint = values.suggestion(name, roles, f"the roles are {', '.join(sorted(roles))}")
            findings.refuse(place, f"unknown role {values.found(name)}", hint)
        elif host := roles[name].same_server_as:
            findings.refuse(place, f"{name} has no server of its own", f"name {host}, whose server does both")
        elif name in group[:index]:
            findings.refuse(place, f"{name} is in the group twice", "name each role once")
        elif owners.get(name, number) != number:
            message = f"{name} is in two groups, so its turn would come in both"
            findings.refuse(place, message, "put all roles that take turns with it into one group")


def _sound(findings: Findings, here: FieldPath, names: Sequence[str], awake: int, roles: dict[str, RoleMap]) -> bool:
    """Whether a group has turns to take: several roles, fewer of them awake, all of which may share GPUs."""
    if len(names) < 2:
        who = f"{names[0]} alone" if names else "nobody"
        findings.refuse(here, f"{who} has nobody to take turns with", "a group needs at least two roles")
        return False
    if awake >= len(names):
        message = f"{', '.join(names)} may all be awake at once, so none takes turns"
        findings.refuse(("max_resident",), message, f"write at most {len(names) - 1}, or leave the key out")
        return False
    if math.comb(len(names), awake) > _MOST_SETS:
        message = f"{awake} of {len(names)} roles make more than {_MOST_SETS} sets that are awake together"
        findings.refuse(here, message, "write smaller groups")
        return False
    for one, other in combinations(names, 2):
        if refusal := _apart(one, other, roles) or _apart(other, one, roles):
            findings.refuse(here, *refusal)
            return False
    return True


def _apart(one: str, other: str, roles: dict[str, RoleMap]) -> tuple[str, str] | None:
    """Return why a role that takes turns with another may not be on its GPUs."""
    role = roles[one]
    if role.exclusive:
        return f"{one} is exclusive, so it shares no memory with {other}", f"drop roles.{one}.exclusive, or the turns"
    if role.share_with is not None and other not in role.share_with:
        message = f"{one} may not share GPUs with {other}, so it cannot take turns with it there"
        return message, f"add {other} to roles.{one}.share_with, or take {one} out of the group"
    return None
