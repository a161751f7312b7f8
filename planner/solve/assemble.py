"""Answer -> Plan: exact ledgers, the order of starting, and the utilization each server must be given."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from msgspec import Struct
from msgspec.structs import replace

from planner.engine.chat_templates import chat_template
from planner.engine.options import engine_options, known_value
from planner.fleet import POOLING_TASKS, Fleet, Pool, Role, TimeShare
from planner.memory.attention import attention_backend
from planner.memory.demand import ledger, scarcest_layout, with_sequences
from planner.memory.terms import Server
from planner.options import Option, Prepared
from planner.options.problem import in_plan
from planner.options.shares import seats
from planner.options.speed import speed_of
from planner.plan import (
    GPUGroup,
    GPULedger,
    GPUPrice,
    Lock,
    Plan,
    Proof,
    ServerPlan,
    ServerSpeed,
    SharedRole,
    Stage,
    asleep_of,
    awake_sets,
    busy_permille,
    faults_of,
    money_of,
    price_of,
    server_speed,
)
from planner.plan.lookup import lookup
from planner.search.chain import SEED
from planner.search.problem import MINIMAL_CHANGE, Answer, Block
from planner.search.solver import SOLVER_VERSION
from planner.search.turns import charge
from planner.solve.names import server_names
from planner.solve.ports import master_ports, ports
from planner.solve.unsearched import unsearched

_STEPS = 10_000


class Decision(Struct, frozen=True, kw_only=True):
    """What was decided for one role: an option, the sequences of each of its servers, a block of GPUs for each.

    Of a role across pools it is what was decided for one of the pools.
    """

    role: Role
    option: Option
    sequences: int
    blocks: tuple[Block, ...]

    @property
    def requests(self) -> int:
        """The requests all these servers take at once."""
        return self.sequences * self.option.ranks

    @property
    def footprint(self) -> int:
        """The bytes a server takes of each of its GPUs, as the solver counts them."""
        return self.option.demand.footprint(self.sequences)

    @property
    def server(self) -> Server:
        """The server with its sequences and KV cache filled in."""
        cache = self.option.demand.kv_cache_bytes(self.sequences)
        return with_sequences(self.option.server, self.sequences, cache)


def decisions(prepared: Prepared, answer: Answer) -> tuple[Decision, ...]:
    """Return the choices of an answer with the options they mean; optional roles left out are not among them.

    A role across pools has one for each pool, the one that leads first.
    """
    return tuple(
        Decision(
            role=seat.role,
            option=seat.options[choice.candidate],
            sequences=choice.sequences,
            blocks=choice.blocks,
        )
        for seat, choice in zip(seats(prepared), answer.choices, strict=True)
        if choice
    )


def by_role(decided: Sequence[Decision]) -> list[list[Decision]]:
    """Return what was decided for each role, the servers that lead first."""
    return [list(group) for _, group in groupby(decided, lambda decision: decision.role.name)]


def assemble(
    fleet: Fleet, prepared: Prepared, answer: Answer, budget: int, lock: Lock, previous: Plan | None = None
) -> Plan:
    """Return the plan of an answer, without what binds and without a runner-up; ports are those of a previous plan."""
    decided = decisions(prepared, answer)
    made = [one for own in by_role(decided) for one in _servers(fleet, prepared, own, previous)]
    placed = sorted(_with_ports(fleet, [server for server, _ in made], previous), key=lambda server: server.name)
    servers = list(_with_speed(fleet, prepared, {server.name: one for server, one in made}, placed))
    order = sorted(servers, key=lambda server: (-server.ledger.total_bytes, server.name))
    served = {decision.role.name for decision in decided}
    return Plan(
        fleet=fleet.name,
        engine=fleet.engine,
        engine_version=prepared.profile.version,
        engine_known=prepared.profile.exact,
        objective=fleet.objective,
        servers=tuple(servers),
        start_order=tuple(server.name for server in order),
        left_out=tuple(role.name for role in fleet.roles if role.name not in served),
        gpus=tuple(ledgers(fleet, servers)),
        prices=_prices(fleet),
        price=price_of(fleet, servers),
        money=money_of(fleet, servers),
        proof=replace(_proof(fleet, answer, budget), unsearched=unsearched(prepared)),
        lock=lock,
        bindings=(),
        runner_up=None,
        time_share=fleet.time_share,
        awake_sets=awake_sets(fleet.time_share, served) if fleet.time_share else (),
        cluster=fleet.cluster,
    )


def ledgers(fleet: Fleet, servers: Sequence[ServerPlan]) -> Iterator[GPULedger]:
    """Yield the ledger of every GPU, in order of pools, nodes and device numbers."""
    on: dict[tuple[str, int], list[ServerPlan]] = {}
    for server in servers:
        for gpu in server.gpus:
            on.setdefault(gpu, []).append(server)
    for pool in fleet.pools:
        for node in pool.node_names:
            for index in range(pool.gpu_index, pool.gpu_index + pool.gpus_per_node):
                yield _ledger(pool, node, index, on.get((node, index), []), fleet.time_share)


def utilization(total_bytes: int, allowed_bytes: int) -> float:
    """Return the largest utilization, in ten-thousandths, whose share of the GPU is at most ``allowed_bytes``.

    The engine refuses to start when less than ``ceil(total × utilization)`` is free (v1/worker/utils.py:request_memory,
    0.11 to 0.33), computed in floating point as here.
    """
    steps = _STEPS
    count = allowed_bytes * steps // total_bytes
    while count > 1 and math.ceil(total_bytes * (count / steps)) > allowed_bytes:
        count -= 1
    return count / steps


def plan_stages(fleet: Fleet, answer: Answer) -> tuple[Stage, ...]:
    """Return the stages of an answer as a plan shows them: without the change, which is against another plan."""
    return tuple(
        Stage(
            name=s.name,
            value=in_plan(fleet, s.name, s.value),
            bound=in_plan(fleet, s.name, s.bound),
            proven=s.proven,
        )
        for s in answer.stages
        if s.name != MINIMAL_CHANGE
    )


def _with_ports(fleet: Fleet, servers: Sequence[ServerPlan], previous: Plan | None) -> Iterator[ServerPlan]:
    """Yield servers with their ports, those on several nodes with one more for their processes."""
    own = ports(fleet, servers, previous)
    masters = master_ports(servers, own.values(), previous)
    for server in servers:
        yield replace(server, port=own[server.name], master_port=masters.get(server.name, 0))


def _with_speed(
    fleet: Fleet, prepared: Prepared, decided: Mapping[str, Decision], servers: Sequence[ServerPlan]
) -> Iterator[ServerPlan]:
    """Yield servers with their speed, which depends on how many others are on their GPUs."""
    roles, there = {role.name: role.busy_permille for role in fleet.roles}, lookup(tuple(servers))
    known: dict[tuple[str, int, int], ServerSpeed | None] = {}
    for server in servers:
        found = decided[server.name]
        beside = [other for other in there.beside(server) if not fleet.excludes(server.role, other.role)]
        busy = busy_permille(server, beside, roles)
        key = server.role, found.option.pool, busy
        if key not in known:
            gpu, nodes = fleet.pools[found.option.pool].gpu, found.option.nodes
            speed = speed_of(found.role, found.server, gpu, prepared.profile, prepared.speed, busy, nodes)
            known[key] = server_speed(speed, busy)
        yield replace(server, speed=known[key])


def _servers(
    fleet: Fleet, prepared: Prepared, own: Sequence[Decision], previous: Plan | None
) -> Iterator[tuple[ServerPlan, Decision]]:
    """Yield the servers of a role, still without ports, in order of their names."""
    by_place: dict[tuple[GPUGroup, ...], Decision] = {}
    placed: list[tuple[GPUGroup, ...]] = []
    for decision in sorted(own, key=lambda one: one.option.pool):
        pool, stages = fleet.pools[decision.option.pool], decision.option.blocks
        groups = [_group(pool, block) for block in decision.blocks]
        there = [tuple(groups[first : first + stages]) for first in range(0, len(groups), stages)]
        placed += there
        by_place |= dict.fromkeys(there, decision)
    plain = {one.option.pool: _server_plan(fleet, prepared, one, fleet.pools[one.option.pool]) for one in own}
    for name, place in server_names(own[0].role.name, placed, {role.name for role in fleet.roles}, previous):
        first, decision = place[0], by_place[place]
        server = replace(plain[decision.option.pool], name=name, node=first.node, gpu_indices=first.gpu_indices)
        yield replace(server, later_stages=place[1:]), decision


def group_of(fleet: Fleet, block: Block) -> GPUGroup:
    """Return a block as GPUs of a plan."""
    return _group(fleet.pools[block.pool], block)


def _group(pool: Pool, block: Block) -> GPUGroup:
    first = pool.gpu_index + block.first
    return GPUGroup(node=pool.node_names[block.node], gpu_indices=tuple(range(first, first + block.width)))


def _server_plan(fleet: Fleet, prepared: Prepared, decision: Decision, pool: Pool) -> ServerPlan:
    """Return what all servers of a role have in common."""
    role, option, server = decision.role, decision.option, decision.server
    exact = ledger(server, pool.gpu, prepared.profile)
    layout = scarcest_layout(server, pool.gpu, prepared.profile)
    length, batch = option.max_model_len, option.max_num_batched_tokens
    blocks = layout.blocks(exact.kv_cache_bytes)
    options = engine_options(prepared.profile.version)
    share = utilization(pool.gpu.memory_bytes, exact.total_bytes - exact.baseline_bytes)
    started = replace(server, flags=replace(server.flags, gpu_memory_utilization=share))

    def concurrency(tokens: int) -> int:
        held = layout.requests_held(blocks - 1, server.flags.reserved_tokens(tokens), batch, decision.sequences)
        return held * option.data_parallel_size

    return ServerPlan(
        name=role.name,
        role=role.name,
        task=role.task,
        model=option.model.name,
        repository=option.variant.path or option.variant.repository,
        revision=option.variant.revision,
        local=bool(option.variant.path),
        download_bytes=option.variant.published_bytes or exact.weights_bytes * server.flags.ranks,
        scheme=option.variant.scheme,
        dtype=server.flags.dtype,
        kv_cache_dtype=option.kv_cache_dtype,
        attention_backend=attention_backend(server, prepared.profile, pool.gpu),
        max_model_len=length,
        max_num_seqs=decision.sequences,
        max_num_batched_tokens=batch,
        tensor_parallel_size=option.tensor_parallel_size,
        pipeline_parallel_size=option.pipeline_parallel_size,
        data_parallel_size=option.data_parallel_size,
        expert_parallel=server.flags.expert_parallel,
        context_parallel_size=server.flags.context_parallel_size,
        node="",
        gpu_indices=(),
        port=0,
        gpu_memory_utilization=share,
        kv_cache_memory_bytes=exact.kv_cache_bytes,
        kv_cache_tokens=layout.tokens_logged(blocks, length, batch),
        request_tokens=option.request_tokens,
        output_tokens=role.output_tokens or 0,
        concurrency_request=concurrency(option.request_tokens),
        concurrency_full_context=concurrency(length),
        accuracy=option.accuracy,
        pooling=role.task in POOLING_TASKS,
        trust_remote_code=role.trust_remote_code,
        tool_parser=known_value("--tool-call-parser", option.model.tool_parser, options),
        reasoning_parser=known_value("--reasoning-parser", option.model.reasoning_parser, options),
        hf_overrides=option.model.hf_overrides,
        chat_template=chat_template(option.model.hf_overrides, prepared.profile.version),
        spread=role.spread or "",
        settings=role.settings,
        shared=tuple(SharedRole(name=one.name, task=one.task, accuracy=its) for one, its in option.others),
        unseen=option.variant.unseen,
        known_faults=faults_of(started, pool.gpu, prepared.profile, option.nodes, role.settings.asked),
        asleep=asleep_of(fleet, role, server, pool.gpu, prepared.profile, exact.weights_bytes),
        ledger=exact,
    )


def _ledger(pool: Pool, node: str, index: int, servers: Sequence[ServerPlan], groups: Sequence[TimeShare]) -> GPULedger:
    shared = sum(_shared_bytes([server for server in servers if server.role in group.roles], group) for group in groups)
    taken = sum(server.ledger.total_bytes for server in servers) - shared
    return GPULedger(
        pool=pool.name,
        node=node,
        index=index,
        gpu=pool.gpu.name,
        product=pool.gpu.product,
        total_bytes=pool.gpu.memory_bytes,
        system_bytes=pool.gpu.system_memory_bytes,
        memory_in_use_bytes=pool.memory_in_use_bytes,
        servers=tuple(server.name for server in servers),
        shared_bytes=shared,
        free_bytes=pool.capacity_bytes - taken,
    )


def _shared_bytes(servers: Sequence[ServerPlan], group: TimeShare) -> int:
    """Return by how much less the servers of a group take of a GPU because of their turns."""
    loads: dict[str, tuple[int, int]] = {}
    for server in servers:
        awake, asleep = loads.get(server.role, (0, 0))
        kept = server.asleep.gpu_bytes if server.asleep else 0
        loads[server.role] = awake + server.ledger.total_bytes, asleep + kept
    return sum(awake for awake, _ in loads.values()) - charge(loads.values(), group.awake)


def _prices(fleet: Fleet) -> tuple[GPUPrice, ...]:
    """Return what cost was counted in, where it was."""
    if not fleet.counts_money or not fleet.priced:
        return ()
    return tuple(
        GPUPrice(
            pool=pool.name,
            microdollars_per_gpu_hour=pool.microdollars_per_gpu_hour or 0,
            microdollars_per_node_hour=pool.microdollars_per_node_hour or 0,
            source=pool.price_source,
        )
        for pool in fleet.pools
    )


def _proof(fleet: Fleet, answer: Answer, budget: int) -> Proof:
    stages = plan_stages(fleet, answer)
    return Proof(
        proven=all(stage.proven for stage in answer.stages),
        stages=stages,
        solver="ortools cp-sat",
        solver_version=SOLVER_VERSION,
        seed=SEED,
        budget=budget,
        model_sha256=answer.model_sha256,
        interrupted=answer.interrupted,
    )
