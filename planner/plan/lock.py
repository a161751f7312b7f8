"""Lock: what a plan was made from, so that a later run can tell whether it still is.

Digests are of meaning, not of bytes: a comment, the order of keys or ``16k`` for ``16384`` changes none of them, and a
model that is no candidate of the fleet may come to the catalog.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from planner.catalog import Catalog
from planner.engine.backends import load_backends
from planner.engine.faults import all_faults
from planner.engine.profile import EngineProfile, known_versions
from planner.facts.variant import Model
from planner.fleet import Fleet, Role
from planner.options.figures import assumed
from planner.version import VERSION

_UNUSED = frozenset({
    "aliases", "file", "note", "released", "revision_date", "sources", "published_source", "paced", "others",
})  # fmt: skip
"""Fields of catalog entries that decide nothing about a plan, or nothing but its speed, or that count elsewhere."""


class Lock(Struct, frozen=True, kw_only=True):
    """The inputs of a plan: the planner's version, and digests of the fleet file, of the catalog and of the engine.

    The engine's are those of the profile, of the known faults that plans avoid, and where the fleet names no version of
    those there are. The catalog's are the facts about the fleet's GPUs, with their prices, and about candidate models,
    with their accuracy. ``speed_sha256`` is that of the constants of speed, where a role states the length of its
    requests. ``targets`` are what was rendered besides the default artifacts. A plan is ``held`` when it follows a plan
    that was there before, and would be another one without it.
    """

    planner_version: str
    fleet_sha256: str
    catalog_sha256: str
    engine_profile_sha256: str
    speed_sha256: str = ""
    targets: tuple[str, ...] = ()
    held: bool = False


def lock_of(fleet: Fleet, catalog: Catalog, profile: EngineProfile) -> Lock:
    """Return the lock of a plan for a fleet, before anything is known of targets and earlier plans."""
    versions = known_versions() if fleet.engine_version is None else ()
    avoided = [(fault.versions, fault.gpu, fault.model, fault.settings) for fault in all_faults() if fault.serious]
    return Lock(
        planner_version=VERSION,
        fleet_sha256=fleet.source_sha256,
        catalog_sha256=_digest(_catalog_facts(fleet, catalog)),
        engine_profile_sha256=_digest([profile, load_backends(profile.version), avoided, versions]),
        speed_sha256=_digest(_speed_facts(fleet, catalog)) if any(role.output_tokens for role in fleet.roles) else "",
    )


def _speed_facts(fleet: Fleet, catalog: Catalog) -> list[Any]:
    paced = [pool.gpu.paced for pool in fleet.pools if pool.gpu.paced]
    return [catalog.speed.engine, [catalog.speed.device(pool.gpu) for pool in fleet.pools], *([paced] if paced else [])]


def stale(old: Lock, now: Lock) -> tuple[str, ...]:
    """Return which inputs changed since a plan was made, by their names for people."""
    inputs = {
        "fleet": "fleet_sha256",
        "catalog": "catalog_sha256",
        "engine profile": "engine_profile_sha256",
        "speed constants": "speed_sha256",
        "planner": "planner_version",
    }
    return tuple(name for name, field in inputs.items() if getattr(old, field) != getattr(now, field))


def _catalog_facts(fleet: Fleet, catalog: Catalog) -> dict[str, Any]:
    candidates = [[_names(model) for model in role.models] for role in fleet.roles]
    models = {_names(model): model for role in fleet.roles for model in role.models}
    return {
        "gpus": [pool.gpu for pool in fleet.pools],
        "prices": [(pool.microdollars_per_hour, pool.price_source, pool.price_date) for pool in fleet.pools],
        "candidates": candidates,
        "models": list(models.values()),
        "scales": [_scale(role, catalog) for role in fleet.roles],
        "accuracy": catalog.accuracy.facts(tuple(models.values())),
    }


def _scale(role: Role, catalog: Catalog) -> str | dict[str, int]:
    """Return the scale that a role's candidates are compared on, or the points that are assumed of them."""
    scale = catalog.accuracy.scale_for(role.task, role.models)
    return assumed(role, scale) or scale


def _names(model: Model) -> tuple[str, ...]:
    """Name a model and the variants that may be chosen of it."""
    return model.repository, *(variant.repository for variant in model.variants)


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: Any) -> Any:  # noqa: ANN401 - any fact
    """Return a fact as JSON has it, for what ``json`` does not know itself."""
    if isinstance(value, Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__ if name not in _UNUSED}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(value)
