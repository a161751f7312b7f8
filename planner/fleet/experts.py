"""Experts: whether a role that asks for experts to be shared out has a model with any."""

from planner.config_json import parse_config
from planner.errors import PlannerError
from planner.facts.variant import Model
from planner.fleet.findings import Findings
from planner.fleet.schema import RoleMap
from planner.yaml_source import FieldPath


def check_experts(findings: Findings, path: FieldPath, read: RoleMap, models: tuple[Model, ...]) -> None:
    """Refuse expert parallelism for models none of which is a mixture of experts."""
    if read.expert_parallel is not True or not models or any(map(has_experts, models)):
        return
    names = models[0].name if len(models) == 1 else "no model of the role"
    message = f"{names} has no experts to share out" if len(models) == 1 else f"{names} has experts to share out"
    findings.refuse((*path, "expert_parallel"), message, "leave the key out, or name a mixture of experts")


def has_experts(model: Model) -> bool:
    """Whether any layer is a mixture; a model that cannot be sized is refused elsewhere."""
    try:
        architecture, _ = parse_config(dict(model.config), where=model.repository)
    except PlannerError:
        return True
    return any(layer.mixture for layer in architecture.layers)
