"""The engine processes of a plan, as templates see them: one for each server, or one on each of a server's nodes."""

from fractions import Fraction

from msgspec import Struct

from planner.artifacts.bench import Bench, bench
from planner.artifacts.cluster import (
    device_class,
    device_expression,
    mixed_resource,
    product_label,
    service_name,
)
from planner.artifacts.host_memory import host_memory_bytes, memory_limit_gib
from planner.artifacts.nodes import Part, address_variable, parts
from planner.artifacts.quoting import slug
from planner.artifacts.serve_args import (
    ALL_ADDRESSES,
    LOOPBACK,
    MASTER_ADDRESS,
    RANKS_ADDRESS,
    Argument,
    serve_arguments,
    serve_environment,
)
from planner.artifacts.turning import excluded
from planner.engine.options import EngineOptions
from planner.engine.versions import parse_version
from planner.plan import GPULedger, Plan, ServerPlan, ServerSpeed
from planner.plan.starts import start_seconds
from planner.units import ceil_div

_WATCH = (("followed", "follows"), ("joined", "joins"))
"""What the gate of the first part does, and that of others: of stages, whose engine keeps a port open, and of ranks."""
# On unified memory the engine from here on counts what Linux calls available as free (``MemorySnapshot.measure`` in
# utils/mem_utils.py, 0.12.0 to 0.33.0); before, what CUDA calls free, which the page cache is not (0.11.0).
_COUNTS_AVAILABLE = "0.12.0"


class Expected(Struct, frozen=True, kw_only=True):
    """The ends of the plan's ranges, with all requests running: milliseconds, and output tokens per second.

    ``busy`` is how many servers' time is asked for on its GPUs, which the slow ends allow for.
    """

    ttft_ms: tuple[float, float]
    tpot_ms: tuple[float, float]
    output_per_second: tuple[float, float]
    busy: float


class Variable(Struct, frozen=True, kw_only=True):
    """One environment variable of a server."""

    name: str
    value: str


class Server(Struct, frozen=True, kw_only=True):
    """One engine process: a whole server, or the part of it that one of its ``node_count`` nodes runs.

    ``requests`` is what it runs at once: ``max_num_seqs`` on each of its data-parallel ranks.
    ``unified`` is ``available`` or ``free`` where the GPU shares the machine's memory: what the engine counts as free.
    ``rank`` is the part's number; part 0, on the node ``head``, answers requests for all, or every part for itself, as
    ``answers`` says. The parts find each other at ``master_port`` there, of which ``address_flag`` names the address,
    and ``watch`` is what the gates do to notice one that has gone; ``head_variable`` and ``node_variable`` hold the
    addresses of that node and of this one.
    ``service`` is what a cluster calls its Service where it has one of its own, ``product_label``, ``mixed_resource``,
    ``device_class`` and ``device_expression`` how a cluster finds its GPUs.
    ``memory_limit_gib`` is what it may take of the machine's memory before it is ended.
    ``expected`` is how fast the plan says it is, None where it says nothing.
    ``turn`` is what it does between its turns (empty: it takes none), for which it needs ``leave_seconds`` at most;
    ``first`` says whether it is started with the fleet, and ``excludes`` names the servers that are stopped before it.
    """

    name: str
    role: str
    names: tuple[str, ...]
    task: str
    model: str
    revision: str
    local: bool
    pooling: bool
    port: int
    node: str
    node_count: int
    service: str
    rank: int
    answers: bool
    watch: str
    address_flag: str
    head: str
    head_variable: str
    node_variable: str
    master_port: int
    gpu_indices: tuple[int, ...]
    tensor_parallel_size: int
    gpu_product: str
    product_label: str
    mixed_resource: str
    device_class: str
    device_expression: str
    unified: str
    after: tuple[str, ...]
    arguments: tuple[Argument, ...]
    container_arguments: tuple[Argument, ...]
    environment: tuple[Variable, ...]
    spread: str
    host_memory_bytes: int
    memory_limit_gib: int
    memory_bytes: int
    kv_cache_bytes: int
    kv_cache_tokens: int
    max_model_len: int
    max_num_seqs: int
    requests: int
    request_tokens: int
    bench: Bench
    expected: Expected | None
    adapters: tuple[str, ...]
    start_seconds: int
    later_start_seconds: int
    queue_seconds: int
    turn: str
    first: bool
    excludes: tuple[str, ...]
    leave_seconds: int


def unified(gpu: GPULedger, engine_version: str) -> str:
    """Return what of a memory that a GPU shares with the operating system the engine counts as free, else nothing."""
    if not gpu.system_bytes:
        return ""
    return "available" if parse_version(engine_version) >= parse_version(_COUNTS_AVAILABLE) else "free"


def all_processes(plan: Plan, options: EngineOptions) -> tuple[Server, ...]:
    """Return the processes on the plan's nodes in the order in which they start."""
    devices = {(gpu.node, gpu.index): gpu for gpu in plan.gpus}
    processes: list[Server] = []
    there: dict[tuple[str, int], list[int]] = {}
    for part in parts(plan):
        places = [(part.node, index) for index in part.gpu_indices]
        earlier = [processes[number] for number in sorted({one for place in places for one in there.get(place, ())})]
        for place in places:
            there.setdefault(place, []).append(len(processes))
        processes.append(_process(plan, part, [devices[place] for place in places], earlier, options))
    return tuple(processes)


def _process(plan: Plan, part: Part, gpus: list[GPULedger], earlier: list[Server], options: EngineOptions) -> Server:
    server = part.server
    several = len(server.nodes) > 1
    first_start, later_start = start_seconds(server, len(part.gpu_indices), plan.engine_version)
    memory_bytes = _memory_bytes(server, min(gpu.total_bytes for gpu in gpus))
    local, published = (_arguments(part, options, host) for host in (LOOPBACK, ALL_ADDRESSES))
    return Server(
        name=slug(server.name),
        role=server.role,
        names=server.names,
        task=server.task,
        model=server.repository,
        revision=server.revision,
        local=server.local,
        pooling=server.pooling,
        port=server.port,
        node=part.node,
        node_count=len(server.nodes),
        service=service_name(plan.fleet, server.name, node_count=len(server.nodes), rank=part.rank),
        rank=part.rank,
        answers=part.answers,
        watch=_WATCH[part.apart][part.rank > 0],
        address_flag=RANKS_ADDRESS if part.apart else MASTER_ADDRESS,
        head=server.node,
        head_variable=address_variable(server.node),
        node_variable=address_variable(part.node),
        master_port=server.master_port,
        gpu_indices=part.gpu_indices,
        tensor_parallel_size=server.tensor_parallel_size,
        gpu_product=gpus[0].product,
        product_label=product_label(gpus[0].product),
        mixed_resource=mixed_resource(gpus[0].product),
        device_class=device_class(gpus[0].product),
        device_expression=device_expression(gpus[0].product),
        unified=unified(gpus[0], plan.engine_version),
        after=tuple(other.name for other in earlier),
        arguments=local,
        container_arguments=local if several else published,
        environment=_environment(server),
        spread=server.spread,
        host_memory_bytes=host_memory_bytes(part),
        memory_limit_gib=memory_limit_gib(part, memory_bytes if gpus[0].system_bytes else 0),
        memory_bytes=memory_bytes,
        kv_cache_bytes=server.kv_cache_memory_bytes,
        kv_cache_tokens=server.kv_cache_tokens,
        max_model_len=server.max_model_len,
        max_num_seqs=server.max_num_seqs,
        requests=server.requests // len(server.nodes) if part.apart else server.requests,
        request_tokens=server.request_tokens,
        bench=bench(server, plan.engine_version),
        expected=_expected(server.speed),
        adapters=server.settings.adapter_names,
        start_seconds=first_start,
        later_start_seconds=later_start,
        queue_seconds=first_start + sum(other.start_seconds for other in earlier),
        turn=server.asleep.how if server.asleep else "",
        first=not plan.awake_sets or server.role in plan.awake_sets[0],
        excludes=excluded(plan, server),
        leave_seconds=ceil_div(server.asleep.leave.high_ms + server.asleep.first_ms, 1000) if server.asleep else 0,
    )


def _expected(speed: ServerSpeed | None) -> Expected | None:
    if not (speed and speed.ttft_us and speed.tpot_us and speed.output_millitokens_per_second):
        return None
    found = (speed.ttft_us, speed.tpot_us, speed.output_millitokens_per_second)
    ttft, tpot, output = ((own.low / 1000, own.high / 1000) for own in found)
    return Expected(ttft_ms=ttft, tpot_ms=tpot, output_per_second=output, busy=speed.busy_permille / 1000)


def _arguments(part: Part, options: EngineOptions, host: str) -> tuple[Argument, ...]:
    """Return the options of a process but the address of the first node, which each target takes from a variable."""
    arguments = serve_arguments(part.server, options, host=host, node_rank=part.rank)
    return tuple(argument for argument in arguments if argument.flag not in (MASTER_ADDRESS, RANKS_ADDRESS))


def _environment(server: ServerPlan) -> tuple[Variable, ...]:
    pairs = (variable.split("=", 1) for variable in serve_environment(server))
    return tuple(Variable(name=name, value=value) for name, value in pairs)


def _memory_bytes(server: ServerPlan, total_bytes: int) -> int:
    """What must be free on each GPU: the engine itself asks for its share of the total before it loads."""
    share = Fraction(str(server.gpu_memory_utilization)) * total_bytes
    return max(ceil_div(share.numerator, share.denominator), server.ledger.total_bytes)
