"""Another publisher's checkpoint of a model that is known: the one of the catalog that is most like it, by its name."""

import re

from planner.catalog.catalog import Catalog
from planner.catalog.names import plain
from planner.facts.variant import Model, Variant

_SCHEMES = (
    (r"nvfp4", ("nvfp4",), "modelopt-nvfp4"),
    (r"mxfp4", ("mxfp4",), "mxfp4"),
    (r"awq", ("awq-int4", "w4a16", "gptq-int4"), "awq-g128"),
    (
        r"(?:auto-?round|gptq).*(?:int8|8bit)|(?:int8|8bit).*(?:auto-?round|gptq)",
        ("gptq-int8", "w8a16"),
        "gptq-int8-g128",
    ),
    (r"w8a16", ("w8a16", "gptq-int8"), "ct-w8a16"),
    (r"auto-?round|gptq|w4a16|int4|4bit", ("gptq-int4", "w4a16", "awq-int4"), "gptq-int4-g128"),
    (r"fp8", ("fp8",), "ct-fp8-dynamic"),
    (r"w8a8|int8", ("w8a8-int8", "w8a16", "gptq-int8"), "ct-w8a8"),
)
"""What a name says of a scheme; schemes of about the same size, the likeliest first; and the usual entry for it."""
_OTHER_FORMATS = re.compile(r"gguf|exl2|exl3|mlx|bnb|onnx|openvino", re.I)
_PLAIN = re.compile(r"[-_. ]*(?:bf16|fp16|hf|it|instruct)?[-_. ]*", re.I)


def alike(catalog: Catalog, name: str) -> tuple[Model, Variant] | None:
    """Return the model that a checkpoint's name begins with and a variant of the same scheme; None if there is none.

    Only sizes may be concluded from it: what was quantized differs between publishers by a few percent.
    """
    last = name.rstrip("/").rsplit("/", 1)[-1]
    found = [model for model in catalog.models if _begins(plain(last), model)]
    if not found or _OTHER_FORMATS.search(last):
        return None
    model = max(found, key=lambda one: (len(plain(one.name)), one.repository))
    rest = last[len(_written(last, model.name)) :].lower()
    said = next((entry for entry in _SCHEMES if re.search(entry[0], rest)), None)
    if said is None:
        return (model, model.variants[0]) if _PLAIN.fullmatch(rest) else None
    _, schemes, usual = said
    same = [one for scheme in schemes for one in model.variants if one.scheme == scheme]
    return model, same[0] if same else catalog.usual(name, usual)


def _begins(wanted: str, model: Model) -> bool:
    name = plain(model.name)
    return wanted.startswith(name) and not wanted[len(name) : len(name) + 1].isdigit()


def _written(text: str, name: str) -> str:
    """Return the start of a text that reads like a name, separators aside."""
    return next((text[:end] for end in range(len(text) + 1) if plain(text[:end]) == plain(name)), text)
