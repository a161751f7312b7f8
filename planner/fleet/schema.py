"""The shape of fleet.yaml: one pydantic model per map in the file, and the JSON Schema made from them.

Every key may be absent here, so that a file with mistakes can still be read as far as it is right; ``required`` names
the keys that a finished file has. Nothing of this leaves the ``fleet`` room: ``load`` turns it into ``Fleet``.
"""

from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from planner.fleet import values
from planner.fleet.cluster_keys import ClusterMap
from planner.fleet.engine_keys import EngineKeys
from planner.fleet.fleet import BETWEEN_TURNS, PARALLEL_SIZES
from planner.fleet.layout_keys import LayoutKeys
from planner.fleet.shapes import Map, auto_or, choice, enum, map_of, one_or_more, sizes, whole
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

_read_objective = values.choice(OBJECTIVES, "objective")
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


_Text: TypeAlias = Annotated[str | None, PlainValidator(values.text), WithJsonSchema(values.TEXT_SCHEMA)]
_Texts: TypeAlias = Annotated[
    tuple[_Text, ...] | None, BeforeValidator(values.as_list), WithJsonSchema(one_or_more(values.TEXT_SCHEMA))
]
_Tokens: TypeAlias = Annotated[int | None, PlainValidator(values.tokens), WithJsonSchema(values.TOKENS_SCHEMA)]
_Percent: TypeAlias = Annotated[int | None, PlainValidator(values.percent), WithJsonSchema(values.PERCENT_SCHEMA)]
_Memory: TypeAlias = Annotated[int, PlainValidator(values.size_bytes), WithJsonSchema(values.BYTES_SCHEMA)]
_HostMemory: TypeAlias = Annotated[int | None, PlainValidator(values.size_bytes), WithJsonSchema(values.BYTES_SCHEMA)]
_Device: TypeAlias = Annotated[int, *whole(0, values.MAX_GPUS - 1, "a device number")]
_Price: TypeAlias = Annotated[int | None, PlainValidator(values.microdollars), WithJsonSchema(values.DOLLARS_SCHEMA)]
_Purchase: TypeAlias = Annotated[int | None, PlainValidator(values.purchase), WithJsonSchema(values.PURCHASE_SCHEMA)]
_Years: TypeAlias = Annotated[int | None, PlainValidator(values.hours_of_years), WithJsonSchema(values.YEARS_SCHEMA)]
_Time: TypeAlias = Annotated[int | None, PlainValidator(values.duration), WithJsonSchema(values.DURATION_SCHEMA)]
_Rate: TypeAlias = Annotated[int | None, PlainValidator(values.rate), WithJsonSchema(values.RATE_SCHEMA)]
_Share: TypeAlias = Annotated[int, PlainValidator(values.share), WithJsonSchema(values.SHARE_SCHEMA)]
_Requests: TypeAlias = Annotated[int | None, *whole(1, values.MAX_CONCURRENCY, "a whole number of requests")]

_OWNED = map_of("price, years, electricity_per_kwh, watts", "price", "an amount of US dollars")
_FIGURE = map_of("score, recovery, source", "score", "a percentage")
_REQUEST = map_of("prompt_tokens, output_tokens", "prompt_tokens", "a token count")
_HOST_MEMORY = "memory of each machine that sleeping roles may take: 128GiB; absent: not limited"


class EngineMap(Map):
    """The inference engine whose memory behaviour the plan is made for."""

    name: Annotated[str, *choice(ENGINES, "engine")] = Field(default="vllm", description="the engine")
    version: Annotated[str | None, PlainValidator(values.version), WithJsonSchema(values.VERSION_SCHEMA)] = Field(
        default=None, description="its release, such as 0.33.0; absent: the newest one with a memory profile"
    )


class OwnedMap(Map):
    """What GPUs cost that were bought."""

    required = ("price", "years")

    price: _Purchase = Field(
        default=None, description="US dollars that one GPU cost, with its part of the machine: 1600"
    )
    years: _Years = Field(default=None, description="years over which its price is spread: 3")
    electricity_per_kwh: _Price = Field(
        default=None, description="US dollars for a kilowatt hour, cooling included: 0.30"
    )
    watts: Annotated[int | None, *whole(1, values.MAX_WATTS, "a whole number of watts")] = Field(
        default=None, description="what one GPU draws, with its part of the machine; absent: its board power"
    )


class GPUMap(Map):
    """The GPU that carries the fleet."""

    required = ("name",)
    later = ("owned", "host_memory")

    name: _Text = Field(default=None, description="a catalog name, or the name nvidia-smi prints")
    count: Annotated[int, *whole(1, values.MAX_GPUS, "a whole number of GPUs")] = Field(
        default=1, description="how many of them"
    )
    index: _Device = Field(default=0, description="device number of the first one, as nvidia-smi counts")
    memory_in_use: _Memory = Field(
        default=0, description="memory that others hold on each GPU, such as a desktop or another process: 1GiB"
    )
    price_per_hour: _Price = Field(default=None, description="US dollars that one GPU costs for one hour: 2.49")
    owned: Annotated[OwnedMap | None, _OWNED] = Field(
        default=None, description="what the GPUs cost that were bought, instead of price_per_hour"
    )
    host_memory: _HostMemory = Field(default=None, description=_HOST_MEMORY)


class PoolMap(Map):
    """Nodes that are all alike: machines with GPUs of one kind."""

    required = ("gpu",)
    later = ("owned", "host_memory", "without")

    gpu: _Text = Field(default=None, description="their GPU: a catalog name, also of a MIG slice")
    gpus: Annotated[int, *whole(1, values.MAX_GPUS_PER_NODE, "a whole number of GPUs per node")] = Field(
        default=1, description="GPUs, or MIG slices, of one node"
    )
    count: Annotated[int, *whole(1, values.MAX_NODES, "a whole number of nodes")] = Field(
        default=1, description="how many nodes"
    )
    without: _Texts = Field(default=None, description="nodes of these that are lost, drained or not to be used: h100-2")
    index: _Device = Field(default=0, description="device number of the first GPU of each node, as nvidia-smi counts")
    memory_in_use: _Memory = Field(default=0, description="memory that others hold on each GPU: 1GiB")
    price_per_hour: _Price = Field(default=None, description="US dollars that one GPU costs for one hour: 2.49")
    owned: Annotated[OwnedMap | None, _OWNED] = Field(
        default=None, description="what the GPUs cost that were bought, instead of price_per_hour"
    )
    node: Annotated[str | None, PlainValidator(values.name), WithJsonSchema(values.NAME_SCHEMA)] = Field(
        default=None, description="name of the one node; pools that name the same node are GPUs of one machine"
    )
    host_memory: _HostMemory = Field(default=None, description=_HOST_MEMORY)


class ContextMap(Map):
    """How many tokens, prompt and answer together, one request may have."""

    required = ("min",)

    min: _Tokens = Field(default=None, description="the plan guarantees this many: 8k")
    wish: _Tokens = Field(default=None, description="more, up to this many, is better: 32k")


class ConcurrencyMap(Map):
    """How many requests are served at once without waiting for memory."""

    min: _Requests = Field(default=None, description="the plan guarantees this many; absent: 1")
    target: _Requests = Field(default=None, description="more, up to this many, is better; absent: the minimum")


class RequestMap(Map):
    """The request length at which concurrency is counted; absent: the full context."""

    required = ("prompt_tokens",)

    prompt_tokens: _Tokens = Field(default=None, description="tokens of the prompt: 6k")
    output_tokens: _Tokens = Field(
        default=None, description="tokens of the answer: 2k; required when the task generates text"
    )


class SpeedMap(Map):
    """How long users may wait, at the slow end of the range, with all requests running that the plan lets in."""

    tpot: _Time = Field(default=None, description="most time per token of an answer after the first: 50ms")
    ttft: _Time = Field(default=None, description="most time to the first token: 2s")
    percentile: Annotated[
        int, PlainValidator(values.percentile), WithJsonSchema({"enum": list(values.PERCENTILES)})
    ] = Field(default=50, description="of how many requests in a hundred this holds: 50, 90 or 99")


class UsersMap(Map):
    """People who send a request, read the answer, think, and send the next."""

    required = ("count", "think_time")

    count: Annotated[int | None, *whole(1, values.MAX_CONCURRENCY, "a whole number of users")] = Field(
        default=None, description="how many of them"
    )
    think_time: _Time = Field(default=None, description="time between an answer and the next request: 30s")


class FigureMap(Map):
    """The accuracy of one model or variant that you measured or trust; it replaces what the catalog says."""

    score: _Percent = Field(default=None, description="score of the model on the role's task, 0 to 100")
    recovery: _Percent = Field(
        default=None, description="what the variant keeps of the unquantized model's score, in percent"
    )
    source: _Text = Field(default=None, description="where the figure comes from")


class AccuracyMap(Map):
    """Floors that the chosen variant keeps, and figures of your own."""

    recovery: _Percent = Field(
        default=None, description="least percentage of the unquantized model's score that quantization must keep: 95"
    )
    score: _Percent = Field(default=None, description="least score on the role's task, 0 to 100")
    figures: Annotated[
        dict[str, Annotated[FigureMap, _FIGURE]],
        map_of("model or variant names"),
    ] = Field(default={}, description="your own figures, by model or variant")


class RoleBasics(Map):
    """What a role is to do, how well, and where."""

    required = ("task", "context")

    task: Annotated[str | None, PlainValidator(_task), WithJsonSchema(enum(TASKS))] = Field(
        default=None, description="what the role does: decides which models are candidates and which score counts"
    )
    models: _Texts = Field(
        default=None,
        description="candidates: catalog names, Hugging Face ids, or folders (./my-model) with a config.json; "
        "absent: every catalog model for the task",
    )
    context: Annotated[ContextMap | None, map_of("min, wish", "min", "a token count")] = Field(
        default=None, description="how many tokens one request may have, prompt and answer together: 16k"
    )
    concurrency: Annotated[ConcurrencyMap, map_of("min, target", "min", "a number of requests")] = ConcurrencyMap()
    request: Annotated[RequestMap | None, _REQUEST] = None
    speed: Annotated[SpeedMap, map_of("tpot, ttft, percentile", "tpot", "a time")] = SpeedMap()
    rate: _Rate = Field(
        default=None, description="requests that all servers of the role together must keep up with: 3/s"
    )
    users: Annotated[UsersMap | None, map_of("count, think_time", "count", "a number of users")] = None
    cached_prompt: _Share = Field(default=0, description="share of a prompt that the prefix cache has on average: 0.6")
    busy: _Share = Field(
        default=1000, description="share of the time in which a server of the role works while others want its GPU: 0.3"
    )
    accuracy: Annotated[AccuracyMap, map_of("recovery, score, figures", "recovery", "a percentage")] = AccuracyMap()
    weight: Annotated[int, *whole(1, values.MAX_WEIGHT, "a whole number")] = Field(
        default=1, description="how much the role counts in the balanced objective, relative to the others"
    )
    schemes: _Texts = Field(default=None, description="quantization schemes allowed: awq-int4, fp8, bf16; absent: all")
    variant: _Text = Field(default=None, description="the one checkpoint to use, by its Hugging Face id")
    kv_cache_dtype: Annotated[str | None, *choice(CACHE_DTYPES, "KV cache type")] = Field(
        default=None,
        description="auto (the model's own type), fp8, or another of the engine's; absent: the planner chooses",
    )
    port: Annotated[int | None, *whole(values.FIRST_PORT, values.LAST_PORT, "a port number")] = Field(
        default=None,
        description="port of the server; absent: the next free one from 8001, in the order of the role names",
    )
    trust_remote_code: Annotated[bool, PlainValidator(values.boolean), WithJsonSchema({"type": "boolean"})] = Field(
        default=False, description="allow Python code from the model's repository to run"
    )
    replicas: Annotated[int | None, *auto_or(values.MAX_REPLICAS, "auto or a whole number of replicas")] = Field(
        default=1, description="equal servers of this role; auto: as many as are best for concurrency.target"
    )
    tensor_parallel: Annotated[tuple[int, ...] | None, *sizes(values.parallel_size, {"enum": list(PARALLEL_SIZES)})] = (
        Field(default=None, description="GPUs of one node that one server splits its layers over: auto, 4 or [1, 2]")
    )
    pipeline_parallel: Annotated[
        tuple[int, ...] | None,
        *sizes(
            values.whole(1, values.MAX_STAGES, "auto or whole numbers of stages"),
            {"type": "integer", "minimum": 1, "maximum": values.MAX_STAGES},
        ),
    ] = Field(default=None, description="groups of GPUs that hold the layers one after another: auto, 2 or [1, 2]")
    pool: _Texts = Field(default=None, description="the pools of `nodes` this role may use; absent: all")
    exclusive: Annotated[bool, PlainValidator(values.boolean), WithJsonSchema({"type": "boolean"})] = Field(
        default=False, description="no other role may be on its GPUs"
    )
    share_with: _Texts = Field(default=None, description="the only other roles that may be on its GPUs; absent: all")
    spread: Annotated[str | None, *choice(SPREADS, "spread")] = Field(
        default=None, description="every replica on a gpu or a node of its own"
    )
    optional: Annotated[bool, PlainValidator(values.boolean), WithJsonSchema({"type": "boolean"})] = Field(
        default=False, description="leave the role out rather than have no plan"
    )


class RoleMap(SharedKeys, LayoutKeys, EngineKeys, RoleBasics):
    """One job in the fleet, served by one model under one name."""

    leads: ClassVar[bool] = False


class FleetMap(Map):
    """A fleet: what has to be served, and on what."""

    leads: ClassVar[bool] = False
    required = ("name", "roles")
    later = (*TURN_KEYS, "cluster")

    name: Annotated[str | None, PlainValidator(values.name), WithJsonSchema(values.NAME_SCHEMA)] = Field(
        default=None, description="names the plan's units, containers and folders"
    )
    engine: Annotated[EngineMap, map_of("name, version", "name", "an engine name")] = EngineMap()
    gpu: Annotated[GPUMap | None, map_of("name, count, index, memory_in_use", "name", "a GPU name")] = Field(
        default=None, description="the GPUs of one machine, by their catalog name or as nvidia-smi prints it"
    )
    nodes: Annotated[
        dict[str, Annotated[PoolMap, map_of("gpu, gpus, count, …", "gpu", "a GPU name")]] | None, map_of("pool names")
    ] = Field(default=None, description="pools of nodes by name, for GPUs of several kinds or machines; instead of gpu")
    objective: Annotated[
        tuple[Annotated[str, PlainValidator(_read_objective)], ...],
        BeforeValidator(values.as_list),
        WithJsonSchema(one_or_more(enum(OBJECTIVES))),
    ] = Field(default=("balanced",), description="what to maximise; a list is taken in order, each before the next")
    roles: Annotated[dict[str, Annotated[RoleMap, map_of("task, context, …")]], map_of("role names")] = Field(
        default={}, description="the roles by name; the name is the model name that clients ask for"
    )
    time_share: Annotated[
        tuple[tuple[str, ...], ...] | None, PlainValidator(values.groups), WithJsonSchema(_GROUPS)
    ] = Field(default=None, description="groups of roles that take turns on the same memory: [[writer, painter]]")
    max_resident: Annotated[int | None, *whole(1, values.MAX_REPLICAS, "a whole number of roles")] = Field(
        default=None,
        description="how many roles of a group may be awake at once, by default 1; without time_share all roles are "
        "one group",
    )
    between_turns: Annotated[str | None, *choice(BETWEEN_TURNS, "way to pass the time between turns")] = Field(
        default=None,
        description="sleep (weights in the machine's memory), sleep-2 (weights are read again) or stop; absent: sleep "
        "where that fits, else stop",
    )
    cluster: Annotated[ClusterMap, map_of("dra", "dra", "true or false")] = Field(
        default=ClusterMap(), description="what the Kubernetes cluster can do, for the target kubernetes"
    )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of fleet.yaml for editors and validators."""
    schema = _tidy(FleetMap.model_json_schema())
    for key in ("roles", "nodes"):
        schema["properties"][key] |= {"propertyNames": values.NAME_SCHEMA, "minProperties": 1}
    schema["oneOf"] = [{"required": ["gpu"]}, {"required": ["nodes"]}]
    for one in (schema, *schema["$defs"].values()):
        for key in one.get("properties", {}).values():
            if "$ref" in key and "description" not in key:  # not every editor looks behind a reference
                key["description"] = schema["$defs"][key["$ref"].rpartition("/")[2]]["description"]
    return {"$schema": JSON_SCHEMA, "title": "fleet.yaml", **schema}


def _tidy(node: Any) -> Any:  # noqa: ANN401 - any JSON
    """Drop what pydantic adds and an editor has no use for: titles, empty defaults, null as an alternative."""
    if isinstance(node, list):
        return [_tidy(item) for item in node if item != {"type": "null"}]
    if not isinstance(node, dict):
        return node
    kept = {
        key: _tidy(value)
        for key, value in node.items()
        if not (key == "title" and isinstance(value, str))
        and not (key == "default" and (value is None or isinstance(value, dict)))
    }
    if len(kept.get("anyOf", ())) == 1:
        kept |= kept.pop("anyOf")[0]
    return kept
