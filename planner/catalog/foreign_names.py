"""Names that people bring from elsewhere: Hugging Face ids, Ollama tags, GGUF files."""

import itertools
import re
from collections.abc import Iterable, Iterator

from planner.facts.variant import Model

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
"""A Hugging Face id: organisation and name."""
_QUANT = re.compile(r"(?:^|[-_.:])(?:i?q[1-8](?:_[a-z0-9]+)*|f16|fp16|bf16)$")
_SAID_TWICE = frozenset(
    {"gguf", "hf", "co", "huggingface", "ollama", "library", "latest", "meta", "qat", "instruct", "it", "chat", "ud"}
)
_SIZE = re.compile(r"\d+(?:\.\d+)?b")
_WORD = re.compile(r"\d+(?:\.\d+)?[bm]?(?![a-z0-9])|v\d+(?:\.\d+)*|[a-z]+|\d+(?:\.\d+)?")


def is_gguf(name: str) -> bool:
    """Whether a name is an Ollama tag (``llama3.1:70b``) or that of a GGUF file or repository."""
    plain = name.casefold()
    tag = re.fullmatch(r"[\w./-]+:[\w.-]+", plain) is not None and "://" not in plain
    return tag or plain.endswith((".gguf", "-gguf")) or "-gguf:" in plain or _QUANT.search(plain) is not None


def same_weights(name: str, models: Iterable[Model]) -> tuple[str, ...]:
    """Return up to three checkpoints of the catalog with the weights that a foreign name means.

    Every word of the name but for its format must be one of the model's, or its size. Of several models it is the one
    with the fewest other words, and of those the newest; a name without a size may mean several.
    """
    wanted = set(_words(_without_format(name)))
    sizes = {word for word in wanted if _SIZE.fullmatch(word)}
    if not wanted or not any(word[0].isalpha() for word in wanted):
        return ()
    found = [model for model in models if _means(wanted, sizes, model)]
    found.sort(key=lambda model: (model.released, model.repository), reverse=True)
    found.sort(key=lambda model: (model.pretrained, len(set(_words(model.name)) - wanted)))
    if not sizes and len(found) > 1:
        return tuple(model.repository for model in found[:3])
    four_bit = (variant.repository for model in found[:1] for variant in model.variants[1:] if "4" in variant.scheme)
    return tuple(itertools.islice((*(model.repository for model in found[:1]), *four_bit), 3))


def _means(wanted: set[str], sizes: set[str], model: Model) -> bool:
    missing = wanted - set(_words(model.name))
    return missing <= sizes and all(_about(float(size[:-1]) * 10**9, model.parameters) for size in missing)


def _about(count: float, parameters: int) -> bool:
    """Whether a model of so many parameters is called by a size, which is rounded."""
    return abs(parameters - count) <= 0.08 * count


def _without_format(name: str) -> str:
    plain = name.casefold().rpartition("/")[2].removesuffix(".gguf")
    while (shorter := _QUANT.sub("", plain)) != plain:
        plain = shorter
    return plain


def _words(name: str) -> Iterator[str]:
    """Yield the words and numbers of a name; ``llama3.1:70b`` has llama, 3.1 and 70b."""
    return (word for word in _WORD.findall(name.casefold()) if word not in _SAID_TWICE)
