"""What checkpoints take at least: worked out anew from their configs, and never more than any server holds."""

import json
from itertools import product
from pathlib import Path

import pytest

from planner.catalog import load_catalog
from planner.catalog.least_weights import FILE, digest, known_least_bytes
from planner.catalog.stored import stored
from planner.config_json import as_pooling
from planner.engine.flags import ServeFlags
from planner.engine.profile import load_profile
from planner.errors import PlannerError
from planner.memory.demand import loaded_bytes
from planner.memory.terms import Server
from planner.memory.validity import invalid
from planner.resources import data_folder
from planner.tensors.least import least_bytes


def test_the_file_says_what_follows_from_every_config_of_the_catalog(update_golden: bool) -> None:
    path = data_folder("catalog") / FILE
    found = {}
    for model in load_catalog().models:
        for variant in model.variants:
            try:
                found[digest(model.config, variant)] = least_bytes(*stored(model, variant))
            except PlannerError:
                continue
    text = json.dumps(found, indent=0, sort_keys=True) + "\n"
    if update_golden:
        Path(path).write_text(text, encoding="utf-8")

    assert path.read_text(encoding="utf-8") == text, "pytest --update-golden tests/test_least_weights.py renews it"


@pytest.mark.parametrize("version", ["0.10.2", None])
def test_no_server_holds_less_of_a_checkpoint_on_all_its_gpus(version: str | None) -> None:
    catalog, profile = load_catalog(), load_profile(version)
    gpus = [catalog.gpu(name) for name in ("RTX 3090", "L4", "H100 SXM 80GB", "B200")]
    splits = [(1, 1, 1), (2, 1, 1), (8, 1, 1), (1, 2, 1), (2, 1, 2), (1, 1, 4)]
    compared = 0
    for model in catalog.models[::29]:
        for variant, (tensor, stages, data), pooling in product(model.variants[:3], splits, (False, True)):
            known = known_least_bytes(model, variant)
            assert known or variant.path
            try:
                architecture, quantization = stored(model, variant)
                architecture = as_pooling(architecture) if pooling and not architecture.is_pooling else architecture
            except PlannerError:
                continue
            flags = ServeFlags(
                max_model_len=2048, max_num_seqs=1, max_num_batched_tokens=2048, gpu_memory_utilization=0.9,
                tensor_parallel_size=tensor, pipeline_parallel_size=stages, data_parallel_size=data,
                expert_parallel=data > 1,
            )  # fmt: skip
            if invalid(architecture, quantization, flags, profile):
                continue
            server = Server(architecture=architecture, quantization=quantization, flags=flags)
            for gpu in gpus:
                compared += 1
                assert loaded_bytes(server, gpu, profile) * tensor * stages * data >= known, (variant.repository, flags)

    assert compared > 200
