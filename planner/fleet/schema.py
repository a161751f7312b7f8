"""The shape of fleet.yaml: one class per map in the file, and the JSON Schema made from them.

Every key may be absent here, so that a file with mistakes can still be read as far as it is right; ``required`` names
the keys that a finished file has. Nothing of this leaves the ``fleet`` room: ``load`` turns it into ``Fleet``.
"""

from typing import Any, ClassVar

from planner.fleet import values
from planner.fleet.cluster_keys import ClusterMap
from planner.fleet.engine_keys import EngineKeys
from planner.fleet.fleet import BETWEEN_TURNS, PARALLEL_SIZES
from planner.fleet.layout_keys import LayoutKeys
from planner.fleet.shapes import (
    BOOLEAN,
    BYTES,
    NAME,
    TEXT,
    TEXTS,
    Many,
    Map,
    MapOf,
    Named,
    Value,
    auto_or,
    choice,
    enum,
    key,
    one_or_more,
    sizes,
    whole,
)
from planner.fleet.shared_keys import SharedKeys
from planner.tensors.kv_pages import CACHE_DTYPES

ENGINES = ("vllm",)
OBJECTIVES = (
    "balanced", "accuracy", "concurrency", "cost", "minimal-change", "throughput", "latency", "cost_per_mtok",
)  # fmt: skip
SPEED_OBJECTIVES = ("throughput", "latency", "cost_per_mtok")
TASKS = (
    "code", "general", "reasoning", "chat", "math", "long-context", "agent", "vision", "embedding", "rerank",
    "transcription",
)  # fmt: skip
POOLING_TASKS = ("embedding", "rerank")
TRANSCRIPTION = "transcription"
OWN_TASKS = (*POOLING_TASKS, TRANSCRIPTION)
"""Tasks that have servers of their own: a model for one of them does no other, and no other model does it."""
SPREADS = ("gpu", "node")
TURN_KEYS = ("time_share", "max_resident", "between_turns")
_GROUPS = one_or_more({"type": "array", "items": values.NAME_SCHEMA, "minItems": 2, "uniqueItems": True})
JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"

_read_task = values.choice(TASKS, "task")


def _task(value: object) -> str:
    """Read a task; one that people ask for and no engine here does is refused by its name.

    vLLM 0.33.0 serves /v1/audio/transcriptions and /v1/audio/translations (entrypoints/speech_to_text), and no
    /v1/audio/speech.
    """
    if value == "speech":
        message = "vLLM serves no model that speaks: it has no /v1/audio/speech"
        values.wrong(message, "plan that server apart; the task transcription is speech to text")
    return _read_task(value)


_TOKENS = Value(values.tokens, values.TOKENS_SCHEMA)
_PERCENT = Value(values.percent, values.PERCENT_SCHEMA)
_DEVICE = whole(0, values.MAX_GPUS - 1, "a device number")
_PRICE = Value(values.microdollars, values.DOLLARS_SCHEMA)
_TIME = Value(values.duration, values.DURATION_SCHEMA)
_SHARE = Value(values.share, values.SHARE_SCHEMA)
_REQUESTS = whole(1, values.MAX_CONCURRENCY, "a whole number of requests")
_HOST_MEMORY = "memory of each machine that sleeping roles may take: 128GiB; absent: not limited"


class EngineMap(Map):
    """The inference engine whose memory behaviour the plan is made for."""

    name: str = key(choice(ENGINES, "engine"), "the engine", default="vllm")
    version: str | None = key(
        Value(values.version, values.VERSION_SCHEMA),
        "its release, such as 0.33.0; absent: the newest one with a memory profile",
    )


class OwnedMap(Map):
    """What GPUs cost that were bought."""

    required = ("price", "years")

    price: int | None = key(
        Value(values.purchase, values.PURCHASE_SCHEMA),
        "US dollars that one GPU cost, with its part of the machine: 1600",
    )
    years: int | None = key(
        Value(values.hours_of_years, values.YEARS_SCHEMA), "years over which its price is spread: 3"
    )
    electricity_per_kwh: int | None = key(_PRICE, "US dollars for a kilowatt hour, cooling included: 0.30")
    watts: int | None = key(
        whole(1, values.MAX_WATTS, "a whole number of watts"),
        "what one GPU draws, with its part of the machine; absent: its board power",
    )


class GPUMap(Map):
    """The GPU that carries the fleet."""

    required = ("name",)
    later = ("owned", "host_memory")

    name: str | None = key(TEXT, "a catalog name, or the name nvidia-smi prints")
    count: int = key(whole(1, values.MAX_GPUS, "a whole number of GPUs"), "how many of them", default=1)
    index: int = key(_DEVICE, "device number of the first one, as nvidia-smi counts", default=0)
    memory_in_use: int = key(
        BYTES, "memory that others hold on each GPU, such as a desktop or another process: 1GiB", default=0
    )
    price_per_hour: int | None = key(_PRICE, "US dollars that one GPU costs for one hour: 2.49")
    owned: OwnedMap | None = key(
        MapOf(OwnedMap, "price, years, electricity_per_kwh, watts", "an amount of US dollars"),
        "what the GPUs cost that were bought, instead of price_per_hour",
    )
    host_memory: int | None = key(BYTES, _HOST_MEMORY)


class PoolMap(Map):
    """Nodes that are all alike: machines with GPUs of one kind."""

    required = ("gpu",)
    later = ("owned", "host_memory", "without")

    gpu: str | None = key(TEXT, "their GPU: a catalog name, also of a MIG slice")
    gpus: int = key(
        whole(1, values.MAX_GPUS_PER_NODE, "a whole number of GPUs per node"),
        "GPUs, or MIG slices, of one node",
        default=1,
    )
    count: int = key(whole(1, values.MAX_NODES, "a whole number of nodes"), "how many nodes", default=1)
    without: tuple[str, ...] | None = key(TEXTS, "nodes of these that are lost, drained or not to be used: h100-2")
    index: int = key(_DEVICE, "device number of the first GPU of each node, as nvidia-smi counts", default=0)
    memory_in_use: int = key(BYTES, "memory that others hold on each GPU: 1GiB", default=0)
    price_per_hour: int | None = key(_PRICE, "US dollars that one GPU costs for one hour: 2.49")
    owned: OwnedMap | None = key(
        MapOf(OwnedMap, "price, years, electricity_per_kwh, watts", "an amount of US dollars"),
        "what the GPUs cost that were bought, instead of price_per_hour",
    )
    node: str | None = key(NAME, "name of the one node; pools that name the same node are GPUs of one machine")
    host_memory: int | None = key(BYTES, _HOST_MEMORY)


class ContextMap(Map):
    """How many tokens, prompt and answer together, one request may have."""

    required = ("min",)

    min: int | None = key(_TOKENS, "the plan guarantees this many: 8k")
    wish: int | None = key(_TOKENS, "more, up to this many, is better: 32k")


class ConcurrencyMap(Map):
    """How many requests are served at once without waiting for memory."""

    min: int | None = key(_REQUESTS, "the plan guarantees this many; absent: 1")
    target: int | None = key(_REQUESTS, "more, up to this many, is better; absent: the minimum")


class RequestMap(Map):
    """The request length at which concurrency is counted; absent: the full context."""

    required = ("prompt_tokens",)

    prompt_tokens: int | None = key(_TOKENS, "tokens of the prompt: 6k")
    output_tokens: int | None = key(_TOKENS, "tokens of the answer: 2k; required when the task generates text")


class SpeedMap(Map):
    """How long users may wait, at the slow end of the range, with all requests running that the plan lets in."""

    tpot: int | None = key(_TIME, "most time per token of an answer after the first: 50ms")
    ttft: int | None = key(_TIME, "most time to the first token: 2s")
    percentile: int = key(
        Value(values.percentile, {"enum": list(values.PERCENTILES)}),
        "of how many requests in a hundred this holds: 50, 90 or 99",
        default=50,
    )


class UsersMap(Map):
    """People who send a request, read the answer, think, and send the next."""

    required = ("count", "think_time")

    count: int | None = key(whole(1, values.MAX_CONCURRENCY, "a whole number of users"), "how many of them")
    think_time: int | None = key(_TIME, "time between an answer and the next request: 30s")


class FigureMap(Map):
    """The accuracy of one model or variant that you measured or trust; it replaces what the catalog says."""

    score: int | None = key(_PERCENT, "score of the model on the role's task, 0 to 100")
    recovery: int | None = key(_PERCENT, "what the variant keeps of the unquantized model's score, in percent")
    source: str | None = key(TEXT, "where the figure comes from")


class AccuracyMap(Map):
    """Floors that the chosen variant keeps, and figures of your own."""

    recovery: int | None = key(
        _PERCENT, "least percentage of the unquantized model's score that quantization must keep: 95"
    )
    score: int | None = key(_PERCENT, "least score on the role's task, 0 to 100")
    figures: dict[str, FigureMap] = key(
        Named(MapOf(FigureMap, "score, recovery, source", "a percentage"), "model or variant names"),
        "your own figures, by model or variant",
        default={},
    )


class RoleBasics(Map):
    """What a role is to do, how well, and where."""

    required = ("task", "context")

    task: str | None = key(
        Value(_task, enum(TASKS)), "what the role does: decides which models are candidates and which score counts"
    )
    models: tuple[str, ...] | None = key(
        TEXTS,
        "candidates: catalog names, Hugging Face ids, or folders (./my-model) with a config.json; "
        "absent: every catalog model for the task",
    )
    context: ContextMap | None = key(
        MapOf(ContextMap, "min, wish", "a token count"),
        "how many tokens one request may have, prompt and answer together: 16k",
    )
    concurrency: ConcurrencyMap = key(
        MapOf(ConcurrencyMap, "min, target", "a number of requests"), default=ConcurrencyMap()
    )
    request: RequestMap | None = key(MapOf(RequestMap, "prompt_tokens, output_tokens", "a token count"))
    speed: SpeedMap = key(MapOf(SpeedMap, "tpot, ttft, percentile", "a time"), default=SpeedMap())
    rate: int | None = key(
        Value(values.rate, values.RATE_SCHEMA), "requests that all servers of the role together must keep up with: 3/s"
    )
    users: UsersMap | None = key(MapOf(UsersMap, "count, think_time", "a number of users"))
    cached_prompt: int = key(_SHARE, "share of a prompt that the prefix cache has on average: 0.6", default=0)
    busy: int = key(
        _SHARE, "share of the time in which a server of the role works while others want its GPU: 0.3", default=1000
    )
    accuracy: AccuracyMap = key(MapOf(AccuracyMap, "recovery, score, figures", "a percentage"), default=AccuracyMap())
    weight: int = key(
        whole(1, values.MAX_WEIGHT, "a whole number"),
        "how much the role counts in the balanced objective, relative to the others",
        default=1,
    )
    schemes: tuple[str, ...] | None = key(TEXTS, "quantization schemes allowed: awq-int4, fp8, bf16; absent: all")
    variant: str | None = key(TEXT, "the one checkpoint to use, by its Hugging Face id")
    kv_cache_dtype: str | None = key(
        choice(CACHE_DTYPES, "KV cache type"),
        "auto (the model's own type), fp8, or another of the engine's; absent: the planner chooses",
    )
    port: int | None = key(
        whole(values.FIRST_PORT, values.LAST_PORT, "a port number"),
        "port of the server; absent: the next free one from 8001, in the order of the role names",
    )
    trust_remote_code: bool = key(BOOLEAN, "allow Python code from the model's repository to run", default=False)
    replicas: int | None = key(
        auto_or(values.MAX_REPLICAS, "auto or a whole number of replicas"),
        "equal servers of this role; auto: as many as are best for concurrency.target",
        default=1,
    )
    tensor_parallel: tuple[int, ...] | None = key(
        sizes(values.parallel_size, {"enum": list(PARALLEL_SIZES)}),
        "GPUs of one node that one server splits its layers over: auto, 4 or [1, 2]",
    )
    pipeline_parallel: tuple[int, ...] | None = key(
        sizes(
            values.whole(1, values.MAX_STAGES, "auto or whole numbers of stages"),
            {"type": "integer", "minimum": 1, "maximum": values.MAX_STAGES},
        ),
        "groups of GPUs that hold the layers one after another: auto, 2 or [1, 2]",
    )
    pool: tuple[str, ...] | None = key(TEXTS, "the pools of `nodes` this role may use; absent: all")
    exclusive: bool = key(BOOLEAN, "no other role may be on its GPUs", default=False)
    share_with: tuple[str, ...] | None = key(TEXTS, "the only other roles that may be on its GPUs; absent: all")
    spread: str | None = key(choice(SPREADS, "spread"), "every replica on a gpu or a node of its own")
    optional: bool = key(BOOLEAN, "leave the role out rather than have no plan", default=False)


class RoleMap(SharedKeys, LayoutKeys, EngineKeys, RoleBasics):
    """One job in the fleet, served by one model under one name."""

    leads: ClassVar[bool] = False


class FleetMap(Map):
    """A fleet: what has to be served, and on what."""

    leads: ClassVar[bool] = False
    required = ("name", "roles")
    later = (*TURN_KEYS, "cluster")

    name: str | None = key(NAME, "names the plan's units, containers and folders")
    engine: EngineMap = key(MapOf(EngineMap, "name, version", "an engine name"), default=EngineMap())
    gpu: GPUMap | None = key(
        MapOf(GPUMap, "name, count, index, memory_in_use", "a GPU name"),
        "the GPUs of one machine, by their catalog name or as nvidia-smi prints it",
    )
    nodes: dict[str, PoolMap] | None = key(
        Named(MapOf(PoolMap, "gpu, gpus, count, …", "a GPU name"), "pool names"),
        "pools of nodes by name, for GPUs of several kinds or machines; instead of gpu",
    )
    objective: tuple[str, ...] = key(
        Many(choice(OBJECTIVES, "objective")),
        "what to maximise; a list is taken in order, each before the next",
        default=("balanced",),
    )
    roles: dict[str, RoleMap] = key(
        Named(MapOf(RoleMap, "task, context, …"), "role names"),
        "the roles by name; the name is the model name that clients ask for",
        default={},
    )
    time_share: tuple[tuple[str, ...], ...] | None = key(
        Value(values.groups, _GROUPS), "groups of roles that take turns on the same memory: [[writer, painter]]"
    )
    max_resident: int | None = key(
        whole(1, values.MAX_REPLICAS, "a whole number of roles"),
        "how many roles of a group may be awake at once, by default 1; without time_share all roles are one group",
    )
    between_turns: str | None = key(
        choice(BETWEEN_TURNS, "way to pass the time between turns"),
        "sleep (weights in the machine's memory), sleep-2 (weights are read again) or stop; absent: sleep "
        "where that fits, else stop",
    )
    cluster: ClusterMap = key(
        MapOf(ClusterMap, "dra", "true or false"),
        "what the Kubernetes cluster can do, for the target kubernetes",
        default=ClusterMap(),
    )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of fleet.yaml for editors and validators."""
    maps = sorted(_maps(FleetMap), key=lambda one: one.__name__)
    schema = _sorted({"$defs": {one.__name__: one.schema() for one in maps}, **FleetMap.schema()})
    for name in ("roles", "nodes"):
        schema["properties"][name] |= {"propertyNames": values.NAME_SCHEMA, "minProperties": 1}
    schema["oneOf"] = [{"required": ["gpu"]}, {"required": ["nodes"]}]
    return {"$schema": JSON_SCHEMA, "title": "fleet.yaml", **schema}


def _maps(of: type[Map]) -> set[type[Map]]:
    """Return the classes of all maps inside one."""
    kinds = [own.kind.kind if isinstance(own.kind, Named) else own.kind for own in of.keys.values()]
    found = {kind.of for kind in kinds if isinstance(kind, MapOf)}
    return found.union(*map(_maps, found))


def _sorted(node: Any, *, keys: bool = False) -> Any:  # noqa: ANN401 - any JSON
    """Return a schema with its words sorted, but ``keys`` of a map in their order."""
    if isinstance(node, list):
        return [_sorted(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {word: _sorted(node[word], keys=word == "properties") for word in (node if keys else sorted(node))}
