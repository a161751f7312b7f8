"""Model and Variant: a base model people deploy, and one published checkpoint of it."""

import copy
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field


class Variant(Struct, frozen=True, kw_only=True):
    """One published checkpoint of a model.

    ``scheme`` is the quantization scheme's name (``bf16``, ``awq-int4``, …) and ``scheme_class`` the class its
    default recovery is looked up by. ``quantization_config`` is what the checkpoint's own ``config.json`` holds under
    that key, or None; ``config_changes`` are other keys in which its config differs from the model's. Fields named in
    ``assumed_fields`` were not read from the checkpoint. ``published_bytes`` is the size the publisher shows.
    ``revision`` is the commit to download, seen on ``revision_date``. ``path`` is set for a local folder, which is read
    instead of the facts here.
    """

    repository: str
    aliases: tuple[str, ...] = ()
    scheme: str
    scheme_class: str
    native: bool
    quantization_config: Mapping[str, Any] | None = None
    config_changes: Mapping[str, Any] = field(default_factory=dict)
    revision: str = ""
    revision_date: str = ""
    published_bytes: int | None = None
    published_source: str = ""
    released: str = ""
    engine_minimum: str = ""
    assumed_fields: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    path: str = ""

    @property
    def unseen(self) -> tuple[str, ...]:
        """The assumed fields on which the size of the weights depends, sorted."""
        return tuple(sorted({*_WIDEST, "ignore"} & set(self.assumed_fields)))


class Model(Struct, frozen=True, kw_only=True):
    """One base model: facts that all its checkpoints share, and the checkpoints.

    ``config`` has the key names of the model's Hugging Face ``config.json``; ``config_for`` adds what a variant
    changes, ready for ``config_json.parse_config``. ``parameters`` is the published number of weights, kept to
    check the derived one against, with its ``parameters_grade``. ``variants`` begins with the model's own
    repository. ``context_limit`` is set where the publisher states fewer tokens than the engine derives from the
    config; a plan keeps to the smaller. ``cache_refusals`` names KV cache dtypes that published evidence says ruin
    this model, each with the evidence. A ``pretrained`` model completes text and was not trained to answer. ``base``
    names the unquantized model of a quantized checkpoint that is listed on its own; scores are that model's. ``others``
    are further checkpoints that may not be chosen, and whose measurements tell of those that may.
    """

    name: str
    repository: str
    aliases: tuple[str, ...]
    family: str
    tasks: tuple[str, ...]
    licence: str
    non_commercial: bool
    gated: bool
    released: str
    parameters: int
    parameters_grade: str
    active_parameters: int | None
    mixture: bool
    config: Mapping[str, Any]
    variants: tuple[Variant, ...]
    others: tuple[Variant, ...] = ()
    pretrained: bool = False
    base: str = ""
    context_limit: int | None = None
    engine_minimum: str = ""
    tool_parser: str = ""
    reasoning_parser: str = ""
    hf_overrides: str = ""
    cache_refusals: Mapping[str, str] = field(default_factory=dict)
    assumed_fields: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    note: str = ""
    sources: tuple[str, ...] = ()
    file: str = ""

    def config_for(self, variant: Variant) -> dict[str, Any]:
        """Return the ``config.json`` of a variant: the model's, the variant's changes, its quantization."""
        config = {**self.config, **variant.config_changes}
        if variant.quantization_config is not None:
            config["quantization_config"] = dict(variant.quantization_config)
        return config

    def widest_config_for(self, variant: Variant) -> dict[str, Any]:
        """Return the ``config.json`` of a variant in which every assumed field has the value that takes most memory.

        Group sizes become the smallest in use (32), zero points and activation order are there, and attention is left
        unquantized where the list of modules left alone was not seen.
        """
        config = copy.deepcopy(self.config_for(variant))
        settings, assumed = config.get("quantization_config"), frozenset(variant.assumed_fields)
        if settings is None:
            return config
        settings |= {key: value for key, value in _WIDEST.items() if key in assumed and key in settings}
        for group in settings.get("config_groups", {}).values():
            weights = group.get("weights", {})
            if "group_size" in assumed and weights.get("type") == "int":
                weights["group_size"] = _WIDEST["group_size"]
        if "ignore" in assumed and "ignore" in settings:
            pattern = "*self_attn*" if settings.get("quant_method") == "modelopt" else "re:.*self_attn.*"
            settings["ignore"] = [*settings["ignore"], pattern]
        return config


_WIDEST = {"group_size": 32, "zero_point": True, "sym": False, "desc_act": True}
"""For each field of a quantization config, the value in use that takes most memory."""
