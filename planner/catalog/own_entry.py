"""A checkpoint's own metadata -> the YAML of a catalog entry; nothing is taken on trust, nothing is written."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from planner.architecture import Architecture
from planner.catalog.checked import shape_problems
from planner.checkpoint import Checkpoint, read_config, read_folder
from planner.config_json.fields import Fields
from planner.config_json.hearing import HEARING
from planner.config_json.quantization_config import quantization_settings
from planner.errors import InputError
from planner.facts.quantization import Quantization
from planner.tensors.weights import Rank, parameter_bytes, rotary_bytes
from planner.units import format_gib
from planner.yaml_source import parse_yaml
from planner.yaml_text import yaml_text

# Keys of a config.json that say nothing about shapes; an entry without them can be read and compared.
_NOISE = re.compile(
    r"_name_or_path|auto_map|transformers_version|use_cache|initializer_range|id2label|label2id|.*_token_id|.*_token_index"
    r"|.*dropout.*|.*_eps|.*_coef|task_specific_params|return_dict.*|output_(attentions|hidden_states|scores|router_logits)|torchscript|quantization_config|"
    r"compression_config|pruned_heads|problem_type|bad_words_ids|prefix|tokenizer_class"
)
_CLOSE_ENOUGH = 0.03


def own_entry(
    folder: Path, repository: str, origin: str, *, commit: str, base: str, tasks: tuple[str, ...], licence: str
) -> dict[str, Any]:
    """Return a catalog entry for the checkpoint in a folder, under the name ``repository``.

    ``base`` is what it was quantized from (empty: not known), ``origin`` says where the files are from. Without
    ``tasks`` they are those that the architecture is for.

    Raises:
        UnsupportedModel: the architecture, the quantization or the file format cannot be sized.
        InvalidConfig: the checkpoint is broken or lies.
    """
    checkpoint = read_folder(folder)
    config = read_config(folder)
    plain = Rank()
    whole = parameter_bytes(checkpoint.architecture, Quantization(), plain) - rotary_bytes(
        checkpoint.architecture, plain
    )
    model: dict[str, Any] = {"repository": repository, "licence": licence}
    model["tasks"] = list(tasks or _tasks(checkpoint.architecture))
    model |= {"parameters": whole // plain.dtype_bytes, "parameters_grade": "computed"}
    if any(layer.mixture for layer in checkpoint.architecture.layers):
        model["mixture"] = True
    if checkpoint.quantization.method is not None:
        model |= {"base": base or "unknown", "scheme": checkpoint.quantization.scheme}
        settings = quantization_settings(Fields(origin, config))
        model["quantization_config"] = dict(settings.values) if settings else {}
    if commit:
        model["revision"] = commit
    if checkpoint.stored_bytes:
        model |= {"published_gb": checkpoint.stored_bytes / 10**9, "published_source": "safetensors headers"}
    conflicts = list(_conflicts(checkpoint))
    model |= {"conflicts": conflicts} if conflicts else {}
    return model | {"source": [origin], "config": _slim(config)}


def entry_text(entry: Mapping[str, Any], made_by: str) -> str:
    """Return the text of a family file with one entry, which reads back as what it was made from.

    Raises:
        InputError: the entry is not of the shape that catalog files have.
    """
    text = f"# Written by `{made_by}`; edit freely, `planner catalog check` reads it back.\n"
    text += yaml_text({"family": "added", "models": [dict(entry)]}, width=116, flow=None)
    problems = shape_problems(parse_yaml(text, str(entry["repository"])), "models")
    if problems:
        raise InputError(tuple(problems))
    return text


def _tasks(architecture: Architecture) -> tuple[str, ...]:
    if architecture.is_pooling:
        return ("embedding",)
    if architecture.name in HEARING:
        return HEARING[architecture.name]
    return ("general", "vision") if architecture.vision else ("general",)


def _conflicts(checkpoint: Checkpoint) -> Iterator[str]:
    """Say when the files hold much more or less than the shapes account for; the difference widens no estimate."""
    if not checkpoint.stored_bytes:
        return
    rank = Rank()
    derived = parameter_bytes(checkpoint.architecture, checkpoint.quantization, rank)
    derived -= rotary_bytes(checkpoint.architecture, rank)
    if abs(derived - checkpoint.stored_bytes) > _CLOSE_ENOUGH * checkpoint.stored_bytes:
        yield f"the files hold {format_gib(checkpoint.stored_bytes)}, the shapes give {format_gib(derived)}"


def _slim(config: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in config.items() if not _NOISE.fullmatch(key) and value is not None}
    return {key: _slim(value) if isinstance(value, dict) else value for key, value in kept.items()}
