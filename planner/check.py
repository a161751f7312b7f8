"""Check: recompute a plan without the solver, and say everything that does not hold.

Nothing is taken from the plan but its decisions: which variant, which limits, which GPU, which order. Ledgers,
guarantees, accuracies and the value of the objective are derived again from catalog, fleet and memory model.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from planner.catalog import Catalog
from planner.engine import EngineProfile, load_profile
from planner.errors import CheckFailed, PlannerError
from planner.flags import default_flags
from planner.fleet import POOLING_TASKS, Fleet, Role
from planner.memory import requirements
from planner.memory.demand import ledger
from planner.memory.estimate import Server, estimate, terms
from planner.options.figures import RoleFigures
from planner.options.limits import KV_CACHE_DTYPES
from planner.options.served import context_limit, served
from planner.options.worth import SHARE, measure
from planner.plan import Plan, ServerPlan
from planner.variant import Model, Variant


@dataclass(frozen=True, slots=True, order=True)
class Violation:
    """One thing in a plan that does not hold: where, and what."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def require(plan: Plan, fleet: Fleet, catalog: Catalog) -> None:
    """Do nothing when a plan holds.

    Raises:
        CheckFailed: with every violation.
    """
    violations = check(plan, fleet, catalog)
    if violations:
        raise CheckFailed(tuple(str(violation) for violation in violations))


def check(plan: Plan, fleet: Fleet, catalog: Catalog) -> list[Violation]:
    """Return every way in which a plan breaks its fleet's requirements, the engine's rules, or its own figures."""
    found = list(_same_fleet(plan, fleet))
    if found:
        return found
    checker = _Checker(plan, fleet, catalog, load_profile(plan.engine_version))
    for server in plan.servers:
        found += checker.server(server)
    found += checker.gpus()
    found += checker.start() if not found else ()
    found += checker.objective() if not found else ()
    return sorted(set(found))


def _same_fleet(plan: Plan, fleet: Fleet) -> Iterator[Violation]:
    if plan.fleet != fleet.name:
        yield Violation("plan", f"made for the fleet {plan.fleet}, not for {fleet.name}")
    if plan.engine != fleet.engine or fleet.engine_version not in (None, plan.engine_version):
        yield Violation("plan", f"made for {plan.engine} {plan.engine_version}, not for the fleet's engine")
    roles = {role.name for role in fleet.roles}
    served_roles = Counter(server.role for server in plan.servers)
    for name in sorted(roles ^ served_roles.keys()):
        yield Violation(name, "has no server" if name in roles else "is not a role of the fleet")
    names = Counter(server.name for server in plan.servers)
    for name in sorted(name for name, count in names.items() if count > 1):
        yield Violation(name, "is the name of two servers")
    if Counter(plan.start_order) != names:
        yield Violation("start order", "does not name every server once")


class _Checker:
    """One plan against one fleet, with the same catalog and engine profile."""

    def __init__(self, plan: Plan, fleet: Fleet, catalog: Catalog, profile: EngineProfile) -> None:
        self._plan, self._fleet, self._profile = plan, fleet, profile
        self._gpu = fleet.gpu
        self._figures = {role.name: RoleFigures(role, catalog) for role in fleet.roles}

    def server(self, plan: ServerPlan) -> Iterator[Violation]:
        """Check one server on its own: the variant, the limits, the ledger, the guarantees."""
        role = self._fleet.role(plan.role)
        found = _variant(role, plan)
        if found is None:
            yield Violation(plan.name, f"{plan.repository} is not among the variants of role {role.name}")
            return
        if wrong := list(_pins(role, plan, found[1])):
            yield from wrong
            return
        try:
            server = self._server(plan)
            wrong = list(self._limits(role, plan, server, found[0]))
            reason = requirements.refusal(
                server.architecture, server.quantization, server.flags, self._profile, self._gpu
            )
        except PlannerError as error:
            yield Violation(plan.name, str(error))
            return
        yield from wrong
        if reason:
            yield Violation(plan.name, reason)
        if wrong or reason:
            return
        yield from self._guarantees(plan, server)
        yield from self._accuracy(role, plan, found)
        exact = ledger(server, self._gpu, self._profile)
        if exact != plan.ledger:
            yield Violation(plan.name, f"the ledger is {plan.ledger}, recomputed {exact}")

    def gpus(self) -> Iterator[Violation]:
        """Check that every ledger adds up to the byte and nothing is promised twice."""
        fleet = self._fleet
        if [gpu.index for gpu in self._plan.gpus] != list(range(fleet.gpu_index, fleet.gpu_index + fleet.gpu_count)):
            yield Violation("GPUs", "are not those of the fleet")
        for gpu in self._plan.gpus:
            where = f"GPU {gpu.index}"
            names = [server.name for server in self._plan.servers if gpu.index in server.gpu_indices]
            if names != list(gpu.servers):
                yield Violation(where, f"lists {', '.join(gpu.servers) or 'nothing'}, carries {', '.join(names)}")
            if (gpu.total_bytes, gpu.memory_in_use_bytes) != (self._gpu.memory_bytes, fleet.memory_in_use_bytes):
                yield Violation(where, "total or memory in use is not the fleet's")
            taken = sum(self._plan.server(name).ledger.total_bytes for name in names)
            if gpu.memory_in_use_bytes + taken + gpu.free_bytes != gpu.total_bytes:
                yield Violation(where, "the ledger does not add up")
            if gpu.free_bytes < 0:
                yield Violation(where, f"is {-gpu.free_bytes} bytes too small")
        ports = Counter(server.port for server in self._plan.servers)
        for port in sorted(port for port, count in ports.items() if count > 1):
            yield Violation("ports", f"two servers listen on {port}")

    def start(self) -> Iterator[Violation]:
        """Start the servers one after another in the plan's order: each must find the memory it asks for."""
        used = {gpu.index: gpu.memory_in_use_bytes for gpu in self._plan.gpus}
        for name in self._plan.start_order:
            plan = self._plan.server(name)
            in_use = max(used[index] for index in plan.gpu_indices)
            share = math.ceil(self._gpu.memory_bytes * plan.gpu_memory_utilization)
            if share + plan.ledger.baseline_bytes > self._gpu.memory_bytes - in_use:
                yield Violation(name, f"its utilization asks for {share} bytes, more than is free when it starts")
            expected = estimate(self._server(plan), self._gpu, self._profile, in_use)
            if not expected.starts:
                yield Violation(name, f"does not start: {expected.reason}")
            for index in plan.gpu_indices:
                used[index] += plan.ledger.total_bytes

    def objective(self) -> Iterator[Violation]:
        """Recompute every stage of the objective but headroom, which counts with the solver's rounding."""
        values = self._values()
        for stage in self._plan.proof.stages:
            if stage.name in values and stage.value != values[stage.name]:
                yield Violation(f"stage {stage.name}", f"has the value {stage.value}, recomputed {values[stage.name]}")

    def _server(self, plan: ServerPlan) -> Server:
        found = _variant(self._fleet.role(plan.role), plan)
        assert found is not None
        architecture, quantization = served(*found, plan.task)
        flags = default_flags(
            self._profile,
            self._gpu,
            architecture,
            max_model_len=plan.max_model_len,
            max_num_seqs=plan.max_num_seqs,
            max_num_batched_tokens=plan.max_num_batched_tokens,
            gpu_memory_utilization=plan.gpu_memory_utilization,
            kv_cache_memory_bytes=plan.kv_cache_memory_bytes,
            kv_cache_dtype=plan.kv_cache_dtype,
            dtype=plan.dtype,
            tensor_parallel_size=plan.tensor_parallel_size,
        )
        return Server(architecture=architecture, quantization=quantization, flags=flags)

    def _limits(self, role: Role, plan: ServerPlan, server: Server, model: Model) -> Iterator[Violation]:
        limit = context_limit(model, server.architecture)
        if not role.context_min <= plan.max_model_len <= min(limit, max(role.context_min, role.context_wish)):
            yield Violation(plan.name, f"a context of {plan.max_model_len} is outside what the role and model allow")
        if plan.max_num_seqs < role.concurrency_min:
            yield Violation(plan.name, f"serves {plan.max_num_seqs} requests of the {role.concurrency_min} required")
        whole_prompts = server.architecture.is_pooling or self._profile.whole_prompt_batches
        if plan.max_num_batched_tokens < (plan.max_model_len if whole_prompts else plan.max_num_seqs):
            yield Violation(plan.name, f"a batch of {plan.max_num_batched_tokens} tokens is too small")
        if plan.request_tokens != (role.request_tokens or plan.max_model_len):
            yield Violation(plan.name, "counts concurrency at another length than the role's request")

    def _guarantees(self, plan: ServerPlan, server: Server) -> Iterator[Violation]:
        """The KV cache holds what is promised, with the block that the engine keeps for itself left out."""
        layout = terms(server, self._gpu, self._profile).layout
        if not layout.groups:
            return
        blocks = layout.blocks(plan.kv_cache_memory_bytes)
        for what, tokens, promised in (
            ("request length", plan.request_tokens, plan.concurrency_request),
            ("full context", plan.max_model_len, plan.concurrency_full_context),
        ):
            needed = layout.blocks_per_request(tokens, plan.max_num_batched_tokens)
            possible = min(plan.max_num_seqs, (blocks - 1) // needed)
            if promised != possible:
                yield Violation(plan.name, f"promises {promised} requests of {what}; the KV cache holds {possible}")
        if plan.concurrency_request < plan.max_num_seqs or plan.concurrency_full_context < 1:
            yield Violation(plan.name, "the KV cache does not hold every request it lets in")
        logged = layout.tokens_logged(blocks, plan.max_model_len, plan.max_num_batched_tokens)
        if logged != plan.kv_cache_tokens:
            yield Violation(plan.name, f"the engine will log {logged} tokens of KV cache, not {plan.kv_cache_tokens}")

    def _accuracy(self, role: Role, plan: ServerPlan, found: tuple[Model, Variant]) -> Iterator[Violation]:
        exact = self._figures[role.name].of(*found, self._effective_cache(plan), plan.max_model_len)
        if exact != plan.accuracy:
            yield Violation(plan.name, f"the accuracy is {plan.accuracy}, recomputed {exact}")
        for name, floor, value in (
            ("recovery", role.recovery_floor, exact.recovery_floor),
            ("score", role.score_floor, exact.score_floor),
        ):
            if floor is not None and (value is None or value < floor):
                yield Violation(plan.name, f"its {name} is below the floor of {floor / 100:g}")

    def _effective_cache(self, plan: ServerPlan) -> str:
        own = self._server(plan).quantization.kv_cache_dtype
        return own or "auto" if plan.kv_cache_dtype == "auto" else plan.kv_cache_dtype

    def _values(self) -> dict[str, int]:
        """The formula of docs/objective.md, term by term."""
        accuracy = concurrency = context = batch = left = 0
        for plan in self._plan.servers:
            role, figures = self._fleet.role(plan.role), self._figures[plan.role]
            allowed = [(model, variant) for model in role.models for variant in model.variants if role.allows(variant)]
            best = measure([figures.of(*pair, "auto", role.context_min) for pair in allowed])
            figure = best.figure(plan.accuracy) or 0
            accuracy += role.weight * ((best.best - max(0, best.best - figure) // 100 * 100) * SHARE // best.best)
            concurrency += role.weight * plan.max_num_seqs * (SHARE // role.concurrency_target)
            context += role.weight * min(1000, plan.max_model_len * 1000 // role.context_wish)
            batch += role.weight * min(1000, plan.max_num_batched_tokens * 1000 // self._default_batch(plan, role))
            left += role.weight * figure
        return {
            "balanced": accuracy + concurrency,
            "accuracy": accuracy,
            "concurrency": concurrency,
            "context": context,
            "batched tokens": batch,
            "accuracy below a point": left,
        }

    def _default_batch(self, plan: ServerPlan, role: Role) -> int:
        architecture = self._server(plan).architecture
        length, requests = plan.max_model_len, role.concurrency_target
        flags = default_flags(self._profile, self._gpu, architecture, max_model_len=length, max_num_seqs=requests)
        return flags.max_num_batched_tokens


def _variant(role: Role, plan: ServerPlan) -> tuple[Model, Variant] | None:
    """Return the candidate of the role that the server runs."""
    for model in role.models:
        for variant in model.variants:
            if plan.repository == (variant.path or variant.repository):
                return model, variant
    return None


def _pins(role: Role, plan: ServerPlan, variant: Variant) -> Iterator[Violation]:
    if not role.allows(variant):
        yield Violation(plan.name, f"{plan.repository} is not allowed by the role's pins")
    if role.kv_cache_dtype not in (None, plan.kv_cache_dtype):
        yield Violation(plan.name, f"KV cache {plan.kv_cache_dtype} instead of {role.kv_cache_dtype}")
    facts = (
        ("scheme", plan.scheme, variant.scheme),
        ("revision", plan.revision, variant.revision),
        ("port", plan.port, role.port),
        ("task", plan.task, role.task),
        ("pooling", plan.pooling, role.task in POOLING_TASKS),
        ("trust_remote_code", plan.trust_remote_code, role.trust_remote_code),
        ("tensor_parallel_size", plan.tensor_parallel_size, len(plan.gpu_indices)),
    )
    if plan.kv_cache_dtype not in KV_CACHE_DTYPES:
        yield Violation(plan.name, f"KV cache dtype {plan.kv_cache_dtype!r} is none that plans use")
    for name, value, expected in facts:
        if value != expected:
            yield Violation(plan.name, f"{name} is {value!r}, not {expected!r}")
