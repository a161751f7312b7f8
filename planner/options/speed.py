"""The speed of one server of a role, where the role says how long a request is."""

from planner.catalog.speed_tables import SpeedTables
from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU
from planner.fleet import Role
from planner.memory.terms import Server
from planner.speed.forecast import Forecast
from planner.speed.planned import planned
from planner.speed.serving import Requests


def requests_of(role: Role) -> Requests | None:
    """Return the requests of a role; None where it states no length, or generates nothing."""
    if role.prompt_tokens is None or not role.output_tokens:
        return None
    return Requests(input_tokens=role.prompt_tokens, output_tokens=role.output_tokens)


def speed_of(
    role: Role, server: Server, gpu: GPU, profile: EngineProfile, tables: SpeedTables, busy_permille: int
) -> Forecast | None:
    """Return the speed of a server while so many thousandths of the time of its GPUs are asked for."""
    requests = requests_of(role)
    if requests is None:
        return None
    return planned(server, gpu, profile, tables.device(gpu), tables.engine, requests, busy_permille)
