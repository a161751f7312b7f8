"""A fleet file as the planner understands it: units, shorthands, defaults, candidates, and the editor's schema."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from msgspec.structs import replace

from planner.catalog import Catalog, load_catalog
from planner.errors import InputError
from planner.fleet import Fleet, Role, json_schema, load_fleet
from planner.units import GIB

CASES = Path(__file__).parent / "cases"

LONG = (CASES / "fleets" / "complete.yaml").read_text(encoding="utf-8")
SHORT = (CASES / "fleets" / "short.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog(CASES / "catalog")


def read(text: str, catalog: Catalog, folder: Path) -> Fleet:
    path = folder / "fleet.yaml"
    path.write_text(text, encoding="utf-8")
    return load_fleet(path, catalog)


def test_every_key_arrives(catalog: Catalog, tmp_path: Path) -> None:
    fleet = read(LONG, catalog, tmp_path)
    role = fleet.role("coder")

    assert (fleet.name, fleet.engine, fleet.engine_version) == ("one-96gb-card", "vllm", "0.33.0")
    assert fleet.gpu.name == "RTX PRO 6000 Blackwell Workstation"
    assert (fleet.gpu_count, fleet.gpu_index, fleet.memory_in_use_bytes) == (2, 1, 3 * GIB // 2)
    assert fleet.objective == ("accuracy", "concurrency")
    assert [model.name for model in role.models] == ["deepseek-coder-33b-instruct"]
    assert (
        role.context_min, role.context_wish, role.concurrency_min, role.concurrency_target,
    ) == (8192, 16384, 2, 8)  # fmt: skip
    assert (role.prompt_tokens, role.output_tokens, role.request_tokens) == (6144, 2048, 8192)
    assert (role.recovery_floor, role.score_floor, role.weight) == (9500, 4050, 2)
    assert (role.schemes, role.variant) == (("awq-int4", "fp8"), "TheBloke/deepseek-coder-33B-instruct-AWQ")
    assert (role.kv_cache_dtype, role.port, role.trust_remote_code) == ("fp8", 9000, True)
    assert [(figure.recovery, figure.score, figure.source) for figure in role.figures] == [(9875, None, "our own run")]
    assert [v.scheme for v in role.models[0].variants if role.allows(v)] == ["awq-int4"]


def test_defaults_are_filled_in(catalog: Catalog, tmp_path: Path) -> None:
    fleet = read(SHORT, catalog, tmp_path)
    code, find, talk = fleet.roles

    assert (
        fleet.engine_version, fleet.gpu_count, fleet.gpu_index, fleet.memory_in_use_bytes, fleet.objective,
    ) == (None, 1, 0, 0, ("balanced",))  # fmt: skip
    assert [code.name, find.name, talk.name] == ["code", "find", "talk"]
    assert (
        code.context_min, code.context_wish, code.concurrency_min, code.concurrency_target, code.request_tokens,
    ) == (16384, 16384, 1, 1, None)  # fmt: skip
    assert (talk.concurrency_min, talk.concurrency_target) == (3, 3)
    assert find.request_tokens == 256
    assert (
        code.recovery_floor, code.score_floor, code.schemes, code.variant, code.kv_cache_dtype, code.trust_remote_code,
    ) == (None, None, None, None, None, False)  # fmt: skip
    assert [model.name for model in talk.models] == ["Mistral-7B-Instruct-v0.3"]


@pytest.fixture(scope="module")
def lab() -> Fleet:
    return load_fleet(CASES / "fleets" / "lab.yaml", load_catalog())


def test_one_gpu_key_is_one_pool_with_one_node(catalog: Catalog, tmp_path: Path) -> None:
    (pool,) = read(LONG, catalog, tmp_path).pools

    assert (pool.name, pool.path, pool.node_names, pool.gpus_per_node) == ("gpu", "gpu", ("one-96gb-card",), 2)
    assert (pool.gpu_index, pool.memory_in_use_bytes, pool.microdollars_per_gpu_hour) == (1, 3 * GIB // 2, None)


def test_pools_say_how_many_gpus_are_where(lab: Fleet) -> None:
    pool = lab.pool("h100")

    assert [pool.name for pool in lab.pools] == ["desk-large", "desk-small", "h100", "slices", "spare"]
    assert (lab.gpu_count, pool.nodes, pool.gpu_count, pool.node_names) == (22, 2, 16, ("h100-1", "h100-2"))
    assert (pool.gpu.name, pool.gpu.interconnect) == ("H100 80GB SXM5", "NVLink 900 GB/s")
    assert pool.gpu.memory_bytes - pool.capacity_bytes == GIB
    assert pool.microdollars_per_gpu_hour == 2_490_000
    assert lab.pool("desk-large").node_names == lab.pool("desk-small").node_names == ("desk",)
    assert (lab.pool("desk-large").gpu_index, lab.pool("spare").gpus_per_node) == (2, 1)


def test_a_server_is_split_inside_a_node_and_never_over_slices(lab: Fleet) -> None:
    sizes = {pool.name: pool.tensor_parallel_sizes for pool in lab.pools}

    assert (sizes["h100"], sizes["desk-small"], sizes["slices"]) == ((1, 2, 4, 8), (1, 2), (1,))


def test_roles_say_where_they_may_be(lab: Fleet) -> None:
    large, find, small = lab.role("large"), lab.role("find"), lab.role("small")

    assert (large.replicas, large.tensor_parallel_sizes, large.pipeline_parallel_sizes) == (2, (2, 4), (1,))
    assert (large.pools, large.spread, large.exclusive, large.optional) == (("h100",), "node", True, False)
    assert (find.replicas, find.share_with, find.exclusive, find.optional) == (None, ("small",), False, True)
    assert [pool.name for pool in lab.pools_of(find)] == ["desk-small", "spare"]
    assert lab.pools_of(small) == lab.pools
    assert (small.replicas, small.tensor_parallel_sizes, small.pipeline_parallel_sizes) == (1, None, None)


def test_two_roles_share_when_neither_forbids_it(lab: Fleet) -> None:
    large, find, small = lab.role("large"), lab.role("find"), lab.role("small")

    assert small.shares_with(find)
    assert find.shares_with(small)
    assert not small.shares_with(large)
    assert not large.shares_with(find)
    assert small.shares_with(small)
    assert not large.shares_with(large)


def test_a_role_has_no_port_unless_it_is_given_one(catalog: Catalog, tmp_path: Path) -> None:
    fleet = read(SHORT, catalog, tmp_path)

    assert {role.name: role.port for role in fleet.roles} == {"code": None, "find": 8002, "talk": None}


def test_order_of_the_file_decides_nothing(catalog: Catalog, tmp_path: Path) -> None:
    data = yaml.safe_load(SHORT)
    data["roles"] = dict(reversed(data["roles"].items()))
    reordered = yaml.safe_dump(dict(reversed(data.items())), sort_keys=False)

    assert read(reordered, catalog, tmp_path) == read(SHORT, catalog, tmp_path)


@pytest.mark.parametrize(
    ("names", "schemes"),
    [
        ("deepseek-coder-33b-instruct", ["bf16", "awq-int4", "gptq-int4"]),
        ("deepseek-ai/deepseek-coder-33b-instruct", ["bf16", "awq-int4", "gptq-int4"]),
        ("TheBloke/deepseek-coder-33B-instruct-AWQ", ["awq-int4"]),
        ("[TheBloke/deepseek-coder-33B-instruct-AWQ, deepseek-coder-33B-instruct-GPTQ]", ["awq-int4", "gptq-int4"]),
        ("[TheBloke/deepseek-coder-33B-instruct-AWQ, deepseek-coder-33b-instruct]", ["bf16", "awq-int4", "gptq-int4"]),
    ],
)  # fmt: skip
def test_a_variant_may_be_named_where_a_model_may(
    names: str, schemes: list[str], catalog: Catalog, tmp_path: Path
) -> None:
    role = read(SHORT.replace("DeepSeek-Coder-33B-Instruct", names), catalog, tmp_path).role("code")

    assert schemes == [variant.scheme for variant in role.models[0].variants]


def test_a_folder_with_a_config_is_a_model(catalog: Catalog, tmp_path: Path) -> None:
    config = catalog.find("Mistral-7B-Instruct-v0.3")[0].config
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(dict(config)), encoding="utf-8")
    role = read(SHORT.replace("DeepSeek-Coder-33B-Instruct", "./my-model"), catalog, tmp_path).role("code")

    assert [("my-model", str(folder))] == [(model.name, model.variants[0].path) for model in role.models]
    assert role.models[0].variants[0].scheme == "bf16"


def test_a_folder_is_held_to_its_context(catalog: Catalog, tmp_path: Path) -> None:
    config = {**catalog.find("Mistral-7B-Instruct-v0.3")[0].config, "max_position_embeddings": 8192}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InputError, match="reads at most 8k"):
        read(SHORT.replace("DeepSeek-Coder-33B-Instruct", "."), catalog, tmp_path)


def test_a_role_is_a_value(catalog: Catalog, tmp_path: Path) -> None:
    role: Role = read(SHORT, catalog, tmp_path).role("talk")

    assert replace(role, weight=2) != role
    assert replace(role) == role


@pytest.mark.parametrize(
    "path",
    [*sorted((CASES / "fleets").glob("*.yaml")), *sorted(CASES.parent.parent.glob("examples/*/fleet.yaml"))],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_the_schema_accepts_what_the_planner_reads(path: Path) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), json_schema())


READ_ONLY_BY_THE_PLANNER = {
    # names of the catalog
    "unknown-gpu", "unknown-gpu-far", "refused-gpu", "unknown-models", "model-without-facts", "wrong-task",
    "task-without-models", "pinned-variant", "context-too-long", "engine-version", "engine-without-cache-size",
    "pool-gpus", "pools-of-roles",
    # rules between keys
    "sharing", "too-many-replicas", "parallel-sizes", "stages", "shared-node", "pool-of-short-form", "min-above-wish",
    "request-too-long", "request-incomplete", "two-pools-one-node", "across-one-pool",
}  # fmt: skip
"""Bad fleets whose mistake no JSON Schema can see."""


def parsed() -> list[Any]:
    found = []
    for path in sorted((CASES / "bad-fleets").glob("*.yaml")):
        complaint = path.with_suffix(".txt").read_text(encoding="utf-8")
        if not any(
            word in complaint
            for word in ("YAML", "alias", "merge key", "already on line", "a key that", "a tab", "nested")
        ):
            found.append(pytest.param(yaml.safe_load(path.read_text(encoding="utf-8")), path.stem, id=path.stem))
    return found


@pytest.mark.parametrize(("data", "case"), parsed())
def test_the_schema_refuses_what_the_planner_refuses(data: object, case: str) -> None:
    accepted = jsonschema.Draft202012Validator(json_schema()).is_valid(data)

    assert accepted == (case in READ_ONLY_BY_THE_PLANNER)


def test_the_schema_is_one_itself_and_describes_every_key() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    maps = [schema, *(body for entry in schema["$defs"].values() for body in entry.get("anyOf", [entry]))]
    undescribed = [
        key for one in maps for key, value in one.get("properties", {}).items() if not value.get("description")
    ]

    assert undescribed == []


def test_the_reference_names_every_key() -> None:
    reference = (CASES.parent.parent / "docs" / "fleet.md").read_text(encoding="utf-8")
    schema = json_schema()
    prefixes = {"GPUMap": "gpu.", "PoolMap": "nodes.",
                "EngineMap": "engine.", "ContextMap": "context.", "ConcurrencyMap": "concurrency.",
                "RequestMap": "request.", "AccuracyMap": "accuracy.", "ClusterMap": "cluster.",
                "RoleMap": ""}  # fmt: skip
    keys = [key for key in schema["properties"] if key not in ("engine", "gpu", "nodes", "cluster")]
    for entry, prefix in prefixes.items():
        body = schema["$defs"][entry]
        properties = body.get("properties") or body["anyOf"][1]["properties"]
        nested = {"context", "concurrency", "request", "accuracy"} if entry == "RoleMap" else set()
        keys += [f"{prefix}{key}" for key in properties if key not in nested]

    assert [key for key in keys if f"`{key}`" not in reference] == []


def test_the_fleet_of_the_reference_loads(tmp_path: Path) -> None:
    reference = (CASES.parent.parent / "docs" / "fleet.md").read_text(encoding="utf-8")
    text = next(block for block in reference.split("```") if block.startswith("yaml\nname:")).removeprefix("yaml\n")
    (tmp_path / "fleet.yaml").write_text(text, encoding="utf-8")

    assert [role.name for role in load_fleet(tmp_path / "fleet.yaml", load_catalog()).roles] == ["chat", "coder"]
