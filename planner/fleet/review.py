"""What single values cannot tell: rules between keys, names in the catalog, and the defaults that follow from them."""

from msgspec.structs import replace

from planner.architecture import Architecture
from planner.engine.profile import load_profile
from planner.engine.settings import EngineSettings
from planner.errors import UnknownName
from planner.fleet import values
from planner.fleet.across import check_across
from planner.fleet.cluster import Cluster
from planner.fleet.engine_keys import engine_settings
from planner.fleet.experts import check_experts
from planner.fleet.feature_keys import check_features
from planner.fleet.findings import Findings
from planner.fleet.fleet import ROUTER_PORT, Fleet, Role, users_rate_milli
from planner.fleet.layout_keys import expert_parallel
from planner.fleet.models import candidates, check_limits, drafter
from planner.fleet.placement import check_placement
from planner.fleet.pools import pools
from planner.fleet.schema import POOLING_TASKS, SPEED_OBJECTIVES, TRANSCRIPTION, ContextMap, FleetMap, RoleMap
from planner.fleet.shared import served_together
from planner.fleet.turns import time_share
from planner.units import format_tokens
from planner.yaml_source import FieldPath, dotted

_NO_SPEED = "the speed of transcription is not known: no model of it counts what the encoder of sound takes"


def review(findings: Findings, read: FleetMap) -> Fleet | None:
    """Return the fleet; None, with the reasons in ``findings``, when a part of it is missing or wrong."""
    _check_engine(findings, read.engine.version)
    found_pools = pools(findings, read)
    _check_ports(findings, read)
    _check_adapter_names(findings, read)
    _check_objective(findings, read)
    found = [_role(findings, name, read.roles[name], read.engine.version) for name in sorted(read.roles)]
    if findings.source.data.get("roles") == {}:
        findings.refuse(
            ("roles",), "a fleet needs at least one role", "write one, such as chat: {task: chat, context: 16k}"
        )
    roles = tuple(role for role in found if role)
    roles = served_together(findings, read, roles)
    check_placement(findings, read, found_pools)
    groups = time_share(findings, read, found_pools)
    check_across(findings, read, found_pools, {name for group in groups for name in group.roles})
    if not (read.name and found_pools) or findings.problems:
        return None
    fleet = Fleet(
        name=read.name,
        engine=read.engine.name,
        engine_version=read.engine.version,
        objective=read.objective,
        pools=found_pools,
        roles=roles,
        time_share=groups,
        cluster=Cluster(dra=read.cluster.dra),
    )
    return fleet.settled(read.between_turns) if read.between_turns else fleet


def _check_engine(findings: Findings, version: str | None) -> None:
    try:
        profile = load_profile(version)
    except UnknownName as error:
        hint = f"the oldest one with a profile is {error.nearest[0]}" if error.nearest else ""
        findings.refuse(("engine", "version"), f"no memory profile covers {values.found(version)}", hint)
        return
    if not profile.has_kv_cache_memory_bytes:
        problem = f"{profile} cannot be told the size of its KV cache, which a plan fixes"
        hint = "0.10.2 is the first version that can; `planner estimate` knows older ones"
        findings.refuse(("engine", "version"), problem, hint)


def _check_objective(findings: Findings, read: FleetMap) -> None:
    """Refuse to count speed where the length of a role's requests is not known."""
    counted = next((name for name in read.objective if name in SPEED_OBJECTIVES), None)
    for name, role in read.roles.items() if counted else ():
        if role.task == TRANSCRIPTION:
            hint = "choose an objective that counts no speed"
            findings.refuse(("roles", name, "task"), f"{_NO_SPEED}, which the objective {counted} counts", hint)
        elif role.request is None and role.task and role.task not in POOLING_TASKS:
            hint = f"the objective {counted} counts its speed: request: {{prompt_tokens: 2k, output_tokens: 500}}"
            findings.refuse(("roles", name, "request"), "required key is missing", hint)


def _check_adapter_names(findings: Findings, read: FleetMap) -> None:
    """Refuse a name of an adapter that a role or another adapter has: a router could not tell them apart."""
    owners = dict.fromkeys(read.roles, "role")
    for role, own in read.roles.items():
        for name in own.lora.names if own.lora else ():
            where: FieldPath = ("roles", role, "lora", "names", name)
            if refusal := values.name_refusal(name):
                findings.refuse(where, *refusal, at_key=True)
            if owner := owners.get(name):
                findings.refuse(where, f"a {owner} is called {name} already", "give it another name", at_key=True)
            owners[name] = "adapter"


def _check_ports(findings: Findings, read: FleetMap) -> None:
    """Refuse a port that two roles have, or the router."""
    ports: dict[str, int] = {}
    for name, role in read.roles.items():
        if role.port is None:
            continue
        owner = next((f"role {other}" for other, taken in ports.items() if taken == role.port), None)
        if role.port == ROUTER_PORT:
            owner = "the router, under which clients find all roles"
        if owner:
            hint = "give each role its own port, or leave the key out"
            findings.refuse(("roles", name, "port"), f"port {role.port} is that of {owner}", hint)
        ports[name] = role.port


def _role(findings: Findings, name: str, read: RoleMap, version: str | None) -> Role | None:
    path: FieldPath = ("roles", name)
    if refusal := values.name_refusal(name):
        findings.refuse(path, *refusal, at_key=True)
    context = _context(findings, path, read.context)
    request = _request(findings, path, read, context)
    concurrency_min = read.concurrency.min or 1
    concurrency_target = read.concurrency.target or concurrency_min
    if concurrency_target < concurrency_min:
        message = f"the target of {concurrency_target} is below the minimum of {concurrency_min}"
        findings.refuse((*path, "concurrency", "target"), message)
    _check_speed(findings, path, read)
    features = {name: getattr(read, name) for name in ("lora", "speculative", "images", "language_model_only")}
    check_features(findings, path, read.task, read.task in POOLING_TASKS, features)
    found = candidates(findings, path, read)
    if read.models or read.variant:
        check_limits(findings, path, read, found.models)
    check_experts(findings, path, read, found.models)
    settings, drafts = _settings(findings, path, read, version)
    if not (read.task and context and found.models):
        return None
    return Role(
        name=name,
        task=read.task,
        models=found.models,
        context_min=context[0],
        context_wish=context[1],
        concurrency_min=concurrency_min,
        concurrency_target=concurrency_target,
        prompt_tokens=request[0] if request else None,
        output_tokens=request[1] if request else None,
        recovery_floor=read.accuracy.recovery,
        score_floor=read.accuracy.score,
        weight=read.weight,
        variant=found.variant,
        schemes=tuple(filter(None, read.schemes)) if read.schemes else None,
        kv_cache_dtype=read.kv_cache_dtype,
        port=read.port,
        trust_remote_code=read.trust_remote_code,
        figures=found.figures,
        replicas=read.replicas,
        tensor_parallel_sizes=read.tensor_parallel,
        pipeline_parallel_sizes=read.pipeline_parallel,
        data_parallel_sizes=read.data_parallel,
        expert_parallel=expert_parallel(read),
        context_parallel_sizes=read.context_parallel,
        across_pools=read.across_pools,
        pools=_names(read.pool),
        share_with=() if read.exclusive else _names(read.share_with),
        spread=read.spread,
        optional=read.optional,
        named=bool(read.models or read.variant),
        tpot_us=read.speed.tpot,
        ttft_us=read.speed.ttft,
        percentile=read.speed.percentile,
        rate_milli=_rate(read),
        users=read.users.count if read.users else None,
        think_us=read.users.think_time if read.users else None,
        cached_permille=read.cached_prompt,
        busy_permille=read.busy,
        settings=settings,
        drafter=drafts[1] if drafts else None,
    )


def _settings(
    findings: Findings, path: FieldPath, read: RoleMap, version: str | None
) -> tuple[EngineSettings, tuple[str, Architecture] | None]:
    """Return what a role pins of the engine, and the model that drafts tokens for it under its id in the catalog."""
    settings = engine_settings(findings, path, read, version)
    wanted = settings.speculative
    if wanted is None or not wanted.model:
        return settings, None
    found = drafter(findings, (*path, "speculative", "model"), wanted.model)
    if found is None:
        return settings, None
    return replace(settings, speculative=replace(wanted, model=found[0])), found


def _check_speed(findings: Findings, path: FieldPath, read: RoleMap) -> None:
    """Refuse speed without the length of a request, and two ways of saying how many come."""
    asked = [key for key in ("speed", "rate", "users", "cached_prompt") if (*path, key) in findings.source.values]
    if asked and read.task in POOLING_TASKS:
        findings.refuse((*path, asked[0]), f"the task {read.task} generates no tokens", "leave the key out")
    elif asked and read.task == TRANSCRIPTION:
        findings.refuse((*path, asked[0]), _NO_SPEED, "leave the key out; load.sh measures nothing of it either")
    elif asked and read.request is None:
        hint = "say it: request: {prompt_tokens: 2k, output_tokens: 500}"
        findings.refuse((*path, asked[0]), "how fast a server is depends on the length of a request", hint)
    if read.rate is not None and read.users is not None:
        findings.refuse((*path, "users"), "rate and users say the same thing", "give one of them", at_key=True)


def _rate(read: RoleMap) -> int | None:
    """Return thousandths of a request per second; users send at most one each time they have thought."""
    if read.users is None or read.users.count is None or read.users.think_time is None:
        return read.rate
    return users_rate_milli(read.users.count, read.users.think_time)


def _names(read: tuple[str | None, ...] | None) -> tuple[str, ...] | None:
    """Return names sorted; None stands for no limit."""
    return None if read is None else tuple(sorted(filter(None, read)))


def _context(findings: Findings, path: FieldPath, read: ContextMap | None) -> tuple[int, int] | None:
    if read is None or read.min is None:
        return None
    wish = read.wish or read.min
    if wish < read.min:
        message = f"the wish of {format_tokens(wish)} is below the minimum of {format_tokens(read.min)}"
        findings.refuse((*path, "context", "wish"), message)
    return read.min, wish


def _request(
    findings: Findings, path: FieldPath, role: RoleMap, context: tuple[int, int] | None
) -> tuple[int, int] | None:
    read = role.request
    if read is None:
        return None
    here = (*path, "request")
    output = (*here, "output_tokens")
    if role.task in POOLING_TASKS and read.output_tokens is not None:
        findings.refuse(output, f"the task {role.task} generates no tokens", "leave the key out", at_key=True)
    if role.task and role.task not in POOLING_TASKS and output not in findings.source.values:
        findings.refuse(output, "required key is missing", f"the task {role.task} generates text: output_tokens: 1k")
    if read.prompt_tokens is None:
        return None
    total = read.prompt_tokens + (read.output_tokens or 0)
    if context and total > context[0]:
        message = f"a request of {total} tokens does not fit the minimum context of {context[0]}"
        hint = f"raise {dotted((*path, 'context'))} to at least {format_tokens(total)}, or shorten the request"
        findings.refuse(here, message, hint)
    return read.prompt_tokens, read.output_tokens or 0
