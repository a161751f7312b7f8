"""Whatever stands in a config.json, the answer is a size or an error of this package, never a traceback."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.config_json import parse_config
from planner.errors import PlannerError
from planner.tensors.kv_cache import layout
from planner.tensors.kv_rules import KVRules
from planner.tensors.weights import weights_bytes

CONFIGS: list[dict[str, Any]] = [
    json.loads(line)["case"]["config"]
    for line in (Path(__file__).parent / "data" / "engine-oracle.jsonl").read_text(encoding="utf-8").splitlines()
]
CLASSES: list[dict[str, Any]] = [
    json.loads(line)["config"]
    for line in (Path(__file__).resolve().parent.parent / "benchmarks" / "engine_oracle" / "classes.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]
QUANTIZED: list[dict[str, Any]] = [
    {"quant_method": "awq", "bits": 4, "group_size": 128, "modules_to_not_convert": ["visual"]},
    {"quant_method": "gptq", "bits": 4, "group_size": 128, "dynamic": {"-:lm_head": {}}, "desc_act": True},
    {"quant_method": "fp8", "weight_block_size": [128, 128], "ignored_layers": ["model.layers.0"]},
    {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int"}}},
        "ignore": ["re:.*gate$"],
    },
    {
        "quant_method": "quark",
        "export": {"kv_cache_group": []},
        "exclude": ["lm_head"],
        "global_quant_config": {"weight": {"dtype": "fp8_e4m3", "qscheme": "per_tensor"}, "input_tensors": {}},
        "layer_quant_config": {"*o_proj": {"weight": {"dtype": "int8", "qscheme": "per_channel"}, "input_tensors": {}}},
    },
    {
        "quant_method": "torchao",
        "quant_type": {"default": {"_type": "Int4WeightOnlyConfig", "_data": {"group_size": 64}}},
        "modules_to_not_convert": ["visual"],
    },
    {"quant_method": "modelopt", "quantized_layers": {"a": {"quant_algo": "FP8"}}, "quant_algo": "MIXED_PRECISION"},
]
ODD = st.sampled_from(
    [
        None, True, "x", "full_attention", -1, 0, 1, 3, 7, 1.5, float("nan"), float("inf"), 1 << 60, 10**400,
        [], {}, [1, 2, 3], ["x"], [None], {"a": 1},
    ]
)  # fmt: skip


def places(value: dict[str, Any], above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place of a nested object; of lists the first entry alone."""
    for key, inner in value.items():
        yield (*above, key)
        if isinstance(inner, dict):
            yield from places(inner, (*above, key))
        if isinstance(inner, list) and inner:
            yield (*above, key, 0)


@settings(max_examples=600, deadline=None)
@given(data=st.data())
def test_an_odd_value_anywhere_is_sized_or_refused(data: st.DataObject) -> None:
    config = copy.deepcopy(data.draw(st.sampled_from(CONFIGS + CLASSES)))
    if data.draw(st.booleans()):
        config["quantization_config"] = copy.deepcopy(data.draw(st.sampled_from(QUANTIZED)))
    place = data.draw(st.sampled_from(list(places(config))))
    holder: Any = config
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = data.draw(ODD)

    try:
        architecture, quantization = parse_config(config, where="config.json")
    except PlannerError as error:
        assert str(error).startswith("config.json")
        return
    assert weights_bytes(architecture, quantization) > 0
    assert layout(architecture, rules=KVRules()).bytes_per_block >= 0
