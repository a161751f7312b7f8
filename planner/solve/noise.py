"""Noise: how far chance alone moves the accuracy of a plan."""

import math

from planner.catalog import Catalog
from planner.fleet import Fleet
from planner.options.figures import RoleFigures
from planner.plan import Plan


def score_noise(plan: Plan, fleet: Fleet, catalog: Catalog) -> float:
    """Return how far the error of its scores moves the accuracy of a plan, in per cent of the best candidates' scores.

    The errors of the roles are independent, so their squares add up.
    """
    total = 0.0
    for role in fleet.roles:
        server = next((server for server in plan.servers if server.role == role.name), None)
        if server and server.accuracy.score is not None:
            error = catalog.accuracy.error(server.accuracy.scale, server.accuracy.score)
            total += (role.weight * 100 * error / RoleFigures(role, catalog).measure.best) ** 2
    return math.sqrt(total) / sum(role.weight for role in fleet.roles)
