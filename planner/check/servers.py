"""One server of a plan, recomputed: its variant, its limits, its ledger, what it guarantees."""

from collections.abc import Iterator
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from planner.catalog import Catalog
from planner.check.violation import Violation, differing
from planner.engine.chat_templates import chat_template
from planner.engine.flags import default_flags, holds_whole_prompts
from planner.engine.profile import EngineProfile
from planner.engine.settings import serve_flags
from planner.errors import PlannerError
from planner.facts.gpu import GPU
from planner.facts.variant import Model, Variant
from planner.fleet import OWN_TASKS, POOLING_TASKS, Fleet, Pool, Role
from planner.memory.attention import attention_backend
from planner.memory.demand import ledger, scarcest_layout
from planner.memory.pins import server_refusal
from planner.memory.started import started
from planner.memory.terms import Server
from planner.options.figures import RoleFigures
from planner.options.limits import KV_CACHE_DTYPES, ranks_refusal, stages_refusal
from planner.options.served import context_limit, served
from planner.plan import Plan, ServerPlan, SharedRole, faults_of

Kind = tuple[str, str, int, tuple[int, ...]]
"""A role, a pool, on how many nodes a server is, and how many GPUs each of its groups has."""


class Recomputed(Struct, frozen=True, dict=True):
    """A plan beside its fleet, and what both imply."""

    plan: Plan
    fleet: Fleet
    catalog: Catalog
    profile: EngineProfile

    @cached_property
    def figures(self) -> dict[str, RoleFigures]:
        """The accuracy figures of every role, by its name."""
        return {role.name: RoleFigures(role, self.catalog) for role in self.fleet.roles}

    def pool(self, plan: ServerPlan) -> Pool | None:
        """Return the pool that has the GPUs a server is on; None when no pool has all of them."""
        found = {self._pools.get(place) for place in plan.gpus}
        number = found.pop() if len(found) == 1 else None
        return None if number is None else self.fleet.pools[number]

    @cached_property
    def _pools(self) -> dict[tuple[str, int], int]:
        """The position of the pool that has a GPU, by its node and device number."""
        return {
            (node, index): number
            for number, pool in enumerate(self.fleet.pools)
            for node in pool.node_names
            for index in range(pool.gpu_index, pool.gpu_index + pool.gpus_per_node)
        }

    def gpu(self, plan: ServerPlan) -> GPU:
        """Return the kind of GPU a server is on."""
        pool = self.pool(plan)
        assert pool is not None
        return pool.gpu

    def cache(self, plan: ServerPlan) -> str:
        """Return what a server keeps its KV cache in, also where that is left to the checkpoint."""
        own = self.server(plan).quantization.kv_cache_dtype
        return own or "auto" if plan.kv_cache_dtype == "auto" else plan.kv_cache_dtype

    def server(self, plan: ServerPlan) -> Server:
        """Return the server that the plan's flags start.

        Servers that are alike have the same one: a role may have thousands.
        """
        key, like = self.kind(plan), anywhere(plan)
        known = self._made.get(key)
        if known is None or known[0] != like:
            known = self._made[key] = like, self._server(plan)
        return known[1]

    def kind(self, plan: ServerPlan) -> Kind:
        """Return what of a server's place decides more than where it is: its pool, and its GPUs on each node."""
        pool = self.pool(plan)
        widths = tuple(len(group.gpu_indices) for group in plan.groups)
        return plan.role, pool.name if pool else "", len(plan.nodes), widths

    @cached_property
    def _made(self) -> dict[Kind, tuple[ServerPlan, Server]]:
        return {}

    def _server(self, plan: ServerPlan) -> Server:
        found = variant_of(self.fleet.role(plan.role), plan)
        assert found is not None
        architecture, quantization = served(*found, plan.task)
        if plan.settings:
            role = self.fleet.role(plan.role)
            architecture = started(architecture, serve_flags(plan.settings), self.profile, role.drafter)
        flags = default_flags(self.profile, self.gpu(plan), architecture, **plan.flags)
        return Server(architecture=architecture, quantization=quantization, flags=flags)


def anywhere(plan: ServerPlan) -> ServerPlan:
    """Return what servers have in common that are alike but for their names, ports, places and neighbours."""
    return replace(plan, name=plan.role, port=0, master_port=0, node="", gpu_indices=(), later_stages=(), speed=None)


def check_servers(facts: Recomputed) -> Iterator[Violation]:
    """Check every server on its own; of one that is like another that keeps all promises, where it is."""
    kept: dict[Kind, ServerPlan] = {}
    for server in facts.plan.servers:
        kind, like = facts.kind(server), anywhere(server)
        if kept.get(kind) == like:
            yield from _place(facts, facts.fleet.role(server.role), server)
            continue
        wrong = list(_check_server(facts, server))
        if not wrong:
            kept[kind] = like
        yield from wrong


def _check_server(facts: Recomputed, plan: ServerPlan) -> Iterator[Violation]:
    role = facts.fleet.role(plan.role)
    found = variant_of(role, plan)
    if found is None:
        yield Violation(plan.name, f"{plan.repository} is not among the variants of role {role.name}")
        return
    wrong = [*_pins(role, plan, *found), *_place(facts, role, plan)]
    if wrong:
        yield from wrong
        return
    try:
        server = facts.server(plan)
        wrong = list(_limits(facts, role, plan, server, found[0]))
        gpu = facts.gpu(plan)
        reason = server_refusal(server, plan.settings, facts.profile, gpu)
    except PlannerError as error:
        yield Violation(plan.name, str(error))
        return
    yield from wrong
    if reason:
        yield Violation(plan.name, str(reason))
    if wrong or reason:
        return
    yield from _guarantees(facts, plan, server)
    yield from _backend(facts, plan, server)
    yield from _accuracy(facts, role, plan, found)
    if plan.chat_template != chat_template(found[0].hf_overrides, facts.profile.version):
        yield Violation(plan.name, "its chat template is not the one that the model needs")
    if plan.spread != (role.spread or ""):
        yield Violation(
            plan.name, f"its replicas are spread over {plan.spread or 'nothing'}, which the fleet does not say"
        )
    if plan.known_faults != faults_of(server, gpu, facts.profile, len(plan.nodes), plan.settings.asked):
        yield Violation(plan.name, "its known faults are not those of the catalog")
    exact = ledger(server, gpu, facts.profile)
    if exact != plan.ledger:
        yield Violation(plan.name, f"the ledger is wrong: {differing(plan.ledger, exact)}")


def variant_of(role: Role, plan: ServerPlan) -> tuple[Model, Variant] | None:
    """Return the candidate of the role that the server runs."""
    for model in role.models:
        for variant in model.variants:
            if plan.repository == (variant.path or variant.repository):
                return model, variant
    return None


def _place(facts: Recomputed, role: Role, plan: ServerPlan) -> Iterator[Violation]:
    """The server is on GPUs of one pool that the role may use, as many as it is split over, stage by stage."""
    pool = facts.pool(plan)
    if pool is None:
        groups = [f"{', '.join(map(str, group.gpu_indices))} of {group.node}" for group in plan.groups]
        yield Violation(plan.name, f"GPU {' and '.join(groups)} is not in the fleet")
        return
    if role.pools is not None and pool.name not in role.pools:
        yield Violation(plan.name, f"is in pool {pool.name}, which the role may not use")
    size = plan.tensor_parallel_size
    if size not in (role.tensor_parallel_sizes or pool.tensor_parallel_sizes):
        yield Violation(plan.name, f"is split over {size} GPUs, which role or pool do not allow")
    yield from _stages(facts, role, plan, pool)
    yield from _ranks(facts, role, plan)


def _stages(facts: Recomputed, role: Role, plan: ServerPlan, pool: Pool) -> Iterator[Violation]:
    """The stages have as many GPUs each, all different, on one node or each on a node of its own."""
    stages = plan.pipeline_parallel_size
    if role.pipeline_parallel_sizes is not None and stages not in role.pipeline_parallel_sizes:
        yield Violation(plan.name, f"has {stages} pipeline stages, which the role does not allow")
    nodes = len(plan.nodes)
    blocks = nodes if plan.data_parallel_size > 1 else stages
    if blocks != len(plan.groups):
        yield Violation(plan.name, f"has {stages} pipeline stages on {len(plan.groups)} groups of GPUs")
    for group in plan.groups:
        if len(group.gpu_indices) * blocks != plan.ranks:
            what = "a stage" if blocks == stages else f"its part of {plan.data_parallel_size} ranks"
            yield Violation(plan.name, f"has {len(group.gpu_indices)} GPUs of {group.node} for {what}")
    if len(set(plan.gpus)) < len(plan.gpus):
        yield Violation(plan.name, "has a GPU twice")
    if nodes not in (1, len(plan.groups)):
        yield Violation(plan.name, f"has {len(plan.groups)} stages on {nodes} nodes")
    if (nodes > 1) != bool(plan.master_port):
        yield Violation(plan.name, f"has the master port {plan.master_port} on {nodes} nodes")
    if stages > 1 and role.task in OWN_TASKS:
        yield Violation(plan.name, f"has pipeline stages, which {role.task} has not")
    if stages > 1 and pool.gpu.parent:
        yield Violation(plan.name, "combines MIG slices")
    if refusal := stages_refusal(stages, nodes if plan.data_parallel_size == 1 else 1, facts.profile):
        yield Violation(plan.name, refusal)


def _ranks(facts: Recomputed, role: Role, plan: ServerPlan) -> Iterator[Violation]:
    """The data-parallel ranks are as many as the role allows, and share out experts as it says."""
    ranks = plan.data_parallel_size
    if role.data_parallel_sizes is not None and ranks not in role.data_parallel_sizes:
        yield Violation(plan.name, f"has {ranks} data-parallel ranks, which the role does not allow")
    if role.expert_parallel not in (None, plan.expert_parallel):
        yield Violation(plan.name, f"{'shares out' if plan.expert_parallel else 'cuts'} whole experts against the role")
    parts = plan.context_parallel_size
    if role.context_parallel_sizes is not None and parts not in role.context_parallel_sizes:
        yield Violation(plan.name, f"deals out tokens over {parts} ranks, which the role does not allow")
    if ranks > 1 and role.task in OWN_TASKS:
        yield Violation(plan.name, f"has data-parallel ranks, which {role.task} has not")
    if len({len(group.gpu_indices) for group in plan.groups}) > 1:
        yield Violation(plan.name, "has more ranks on one node than on another")
    found = variant_of(role, plan)
    architecture, _ = served(*found, plan.task) if found else (None, None)
    if architecture and (refusal := ranks_refusal(ranks, len(plan.nodes), architecture, facts.profile)):
        yield Violation(plan.name, refusal)


def _limits(facts: Recomputed, role: Role, plan: ServerPlan, server: Server, model: Model) -> Iterator[Violation]:
    limit = context_limit(model, server.architecture)
    if not role.context_min <= plan.max_model_len <= limit:
        yield Violation(plan.name, f"a context of {plan.max_model_len} is outside what the role and model allow")
    if plan.max_num_seqs < 1:
        yield Violation(plan.name, f"takes {plan.max_num_seqs} requests at once")
    whole_prompts = holds_whole_prompts(server.architecture, facts.profile)
    if plan.max_num_batched_tokens < (plan.max_model_len if whole_prompts else plan.max_num_seqs):
        yield Violation(plan.name, f"a batch of {plan.max_num_batched_tokens} tokens is too small")
    if plan.request_tokens != (role.request_tokens or plan.max_model_len):
        yield Violation(plan.name, "counts concurrency at another length than the role's request")
    if plan.output_tokens != (role.output_tokens or 0):
        yield Violation(plan.name, "has another length of the answer than the role's request")


def _guarantees(facts: Recomputed, plan: ServerPlan, server: Server) -> Iterator[Violation]:
    """The KV cache holds what is promised, with the block that the engine keeps for itself left out."""
    layout = scarcest_layout(server, facts.gpu(plan), facts.profile)
    if not layout.groups:
        return
    blocks = layout.blocks(plan.kv_cache_memory_bytes)
    for what, tokens, promised in (
        ("request length", plan.request_tokens, plan.concurrency_request),
        ("full context", plan.max_model_len, plan.concurrency_full_context),
    ):
        reserved = server.flags.reserved_tokens(tokens)
        held = layout.requests_held(blocks - 1, reserved, plan.max_num_batched_tokens, plan.max_num_seqs)
        possible = held * plan.data_parallel_size
        if promised != possible:
            yield Violation(plan.name, f"promises {promised} requests of {what}; the KV cache holds {possible}")
    if plan.concurrency_request < plan.requests or plan.concurrency_full_context < plan.data_parallel_size:
        yield Violation(plan.name, "the KV cache does not hold every request it lets in")
    logged = layout.tokens_logged(blocks, plan.max_model_len, plan.max_num_batched_tokens)
    if logged != plan.kv_cache_tokens:
        yield Violation(plan.name, f"the engine will log {logged} tokens of KV cache, not {plan.kv_cache_tokens}")


def _backend(facts: Recomputed, plan: ServerPlan, server: Server) -> Iterator[Violation]:
    backend = attention_backend(server, facts.profile, facts.gpu(plan))
    if backend != plan.attention_backend:
        yield Violation(plan.name, f"{facts.profile} runs its attention with {backend}, not {plan.attention_backend}")


def _accuracy(facts: Recomputed, role: Role, plan: ServerPlan, found: tuple[Model, Variant]) -> Iterator[Violation]:
    figures, of = facts.figures[role.name], (*found, facts.cache(plan), plan.max_model_len)
    exact = figures.of(*of)
    if exact != plan.accuracy:
        yield Violation(plan.name, f"the accuracy is wrong: {differing(plan.accuracy, exact)}")
    shared = tuple(SharedRole(name=one.name, task=one.task, accuracy=its) for one, its in figures.others(*of))
    if shared != plan.shared:
        yield Violation(plan.name, f"the roles it shares are wrong: {differing(plan.shared, shared)}")
    for name, floor, value in figures.floors(*of):
        if value is None or value < floor:
            yield Violation(plan.name, f"its {name} is below the floor of {floor / 100:g}")


def _pins(role: Role, plan: ServerPlan, model: Model, variant: Variant) -> Iterator[Violation]:
    if not role.allows(variant):
        yield Violation(plan.name, f"{plan.repository} is not allowed by the role's pins")
    if role.kv_cache_dtype not in (None, plan.kv_cache_dtype):
        yield Violation(plan.name, f"KV cache {plan.kv_cache_dtype} instead of {role.kv_cache_dtype}")
    facts = (
        ("scheme", plan.scheme, variant.scheme),
        ("hf_overrides", plan.hf_overrides, model.hf_overrides),
        ("unseen", plan.unseen, variant.unseen),
        ("revision", plan.revision, variant.revision),
        ("task", plan.task, role.task),
        ("pooling", plan.pooling, role.task in POOLING_TASKS),
        ("trust_remote_code", plan.trust_remote_code, role.trust_remote_code),
        ("tensor_parallel_size", plan.tensor_parallel_size, _tensor_parallel_size(plan)),
        ("settings", plan.settings, role.settings),
    )
    if plan.kv_cache_dtype not in (*KV_CACHE_DTYPES, role.kv_cache_dtype):
        yield Violation(plan.name, f"KV cache dtype {plan.kv_cache_dtype!r} is none that plans use")
    for name, value, expected in facts:
        if value != expected:
            yield Violation(plan.name, f"{name} is {value!r}, not {expected!r}")


def _tensor_parallel_size(plan: ServerPlan) -> int:
    """Return what the GPUs of a server leave for each stage of each rank."""
    return len(plan.gpus) // max(1, plan.pipeline_parallel_size * plan.data_parallel_size)
