"""One entry of catalog/models/*.yaml -> Model with its Variants; quantization schemes are expanded here."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from planner.facts.variant import Model, Variant

Entry = Mapping[str, Any]

# What a model's own repository states as a checkpoint, beside the facts all its checkpoints share.
_NATIVE_KEYS = ("published_gb", "published_source", "scheme", "quantization_config", "revision", "revision_date")


def models_in(data: Entry, schemes: Entry, file: str) -> Iterator[Model]:
    """Yield the models of one family file."""
    for entry in data["models"]:
        yield _model(entry, data["family"], data.get("sources", {}), schemes, file)


def _model(entry: Entry, family: str, named: Mapping[str, str], schemes: Entry, file: str) -> Model:
    config = entry["config"]
    variants = [_native(entry, named, schemes)]
    variants += [_variant(row, named, schemes) for row in entry.get("variants", ())]
    return Model(
        name=short_name(entry["repository"]),
        repository=entry["repository"],
        aliases=tuple(entry.get("aliases", ())),
        family=family,
        tasks=tuple(entry["tasks"]),
        licence=entry["licence"],
        non_commercial=entry.get("non_commercial", False),
        gated=entry.get("gated", False),
        pretrained=entry.get("pretrained", False),
        released=entry.get("released", ""),
        parameters=entry["parameters"],
        parameters_grade=entry["parameters_grade"],
        active_parameters=entry.get("active_parameters"),
        mixture=entry.get("mixture", False),
        config=config,
        base=entry.get("base", ""),
        variants=tuple(variants),
        context_limit=entry.get("context_limit"),
        engine_minimum=entry.get("engine_minimum", ""),
        tool_parser=entry.get("tool_parser", ""),
        reasoning_parser=entry.get("reasoning_parser", ""),
        hf_overrides=_compact(entry.get("hf_overrides")),
        cache_refusals=entry.get("cache_refusals", {}),
        assumed_fields=tuple(entry.get("assumed", ())),
        conflicts=tuple(entry.get("conflicts", ())),
        note=entry.get("note", ""),
        sources=_sources(entry, named),
        file=file,
    )


def _compact(overrides: Mapping[str, Any] | None) -> str:
    """Return what the engine is told to change in the model's config, as it takes it on a command line."""
    return json.dumps(overrides, separators=(",", ":")) if overrides else ""


def _native(entry: Entry, named: Mapping[str, str], schemes: Entry) -> Variant:
    """The model's own repository, in the scheme its scores were measured on."""
    row = {key: entry[key] for key in _NATIVE_KEYS if key in entry}
    row.setdefault("scheme", {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}[dtype_of(entry["config"])])
    row |= {"repository": entry["repository"], "source": entry["source"]}
    # A quantized checkpoint listed on its own is not what its base model's scores were measured on.
    return _variant(row, named, schemes, native="base" not in entry)


def _variant(row: Entry, named: Mapping[str, str], schemes: Entry, *, native: bool = False) -> Variant:
    # A checkpoint that brings its own config may have a scheme of which nothing is published.
    own = {"scheme": row["scheme"], "class": "unknown"} if "quantization_config" in row else None
    scheme = schemes.get(row["scheme"], own) or schemes[row["scheme"]]
    quantization = scheme.get("quantization_config")
    if "quantization_config" in row:
        quantization = {**(quantization or {}), **row["quantization_config"]}
    gigabytes = row.get("published_gb")
    return Variant(
        repository=row["repository"],
        aliases=tuple(row.get("aliases", ())),
        scheme=scheme["scheme"],
        scheme_class=scheme.get("class", ""),
        native=native,
        quantization_config=quantization,
        config_changes={**scheme.get("config", {}), **row.get("config", {})} if not native else {},
        revision=row.get("revision", ""),
        revision_date=row.get("revision_date", ""),
        published_bytes=None if gigabytes is None else round(gigabytes * 10**9),
        published_source=named.get(row.get("published_source", ""), row.get("published_source", "")),
        released=row.get("released", ""),
        engine_minimum=row.get("engine_minimum", ""),
        assumed_fields=tuple(row.get("assumed", ())),
        conflicts=tuple(row.get("conflicts", ())),
        sources=_sources(row, named),
    )


def as_published(repository: str, scheme: str, schemes: Entry) -> Variant:
    """Return a checkpoint that the catalog does not list, as one of its scheme usually is.

    Raises:
        KeyError: there is no such scheme.
    """
    row = {"repository": repository, "scheme": scheme, "source": (), "assumed": ("ignore", "group_size")}
    return _variant(row, {}, schemes)


def short_name(repository: str) -> str:
    """Return the catalog name of a repository: what follows the organisation."""
    return repository.rpartition("/")[2]


def dtype_of(config: Entry) -> str:
    """Return the dtype a config declares, under either of its key names and in a nested text config too."""
    for place in (config, config.get("text_config", {})):
        for key in ("torch_dtype", "dtype"):
            if isinstance(place.get(key), str):
                return str(place[key])
    return "float32"


def _sources(entry: Entry, named: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(named.get(source, source) for source in entry["source"])
