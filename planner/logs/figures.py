"""What a start-up prints about itself: version, model, settings, and every figure of memory."""

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any

Figure = str | int | float | bool | tuple[str, ...]
Kinds = Mapping[str, Callable[[str], Figure]]

NUMBER = r"-?\d{1,12}(?:\.\d{1,12})?"
"""A figure; without bounds a line of digits alone would cost their square."""
VERSION = re.compile(
    r"vLLM API server version v?(?P<a>\d[\w.+]*)|Initializing (?:a|an) (?:V\d )?LLM engine \(v(?P<b>\d[\w.+]*)\)"
    r"|█\s+version (?P<c>\d[\w.+]*)|vLLM server version v?(?P<d>\d[\w.+]*), serving model"
)
"""How 0.6 to 0.33 say their version: the API server, the engine core, the banner, and one line where it is off."""
ARGUMENTS = re.compile(r"(?:non-default args: |args: Namespace)(?P<rest>.*)")
_MODEL = re.compile(
    r"with config: model='(?P<a>[^']+)'|█\s+model\s+(?P<b>\S+)|Starting to load model (?P<c>\S+?)\.\.\."
    r"|vLLM server version \S+, serving model (?P<d>\S+)"
)


def _int(text: str) -> int:
    return int(text.replace(",", ""))


_PATTERNS: tuple[tuple[str, Kinds], ...] = (
    (rf"Model loading took (?P<weights_gib>{NUMBER}) (?:GiB|GB)", {"weights_gib": float}),
    (rf"Available KV cache memory: (?P<available_kv_gib>{NUMBER}) GiB", {"available_kv_gib": float}),
    (r"(?:GPU|CPU) KV cache size: (?P<kv_tokens>[\d,]+) tokens", {"kv_tokens": _int}),
    (
        rf"(?:reserved |Explicitly set \()(?P<given_kv_gib>{NUMBER})(?: GiB memory for KV Cache as specified|/)",
        {"given_kv_gib": float},
    ),
    (r"# (?:GPU|cuda|CUDA) blocks: (?P<kv_blocks>\d+)", {"kv_blocks": _int}),
    (
        rf"Maximum concurrency for (?P<max_model_len>[\d,]+) tokens per request: (?P<concurrency>{NUMBER})x",
        {"max_model_len": _int, "concurrency": float},
    ),
    (rf"Graph capturing finished in .*? took (?P<graphs_gib>{NUMBER}) GiB", {"graphs_gib": float}),
    (
        rf"CUDA graph pool memory: {NUMBER} GiB \(actual\), (?P<graphs_estimated_gib>{NUMBER}) GiB",
        {"graphs_estimated_gib": float},
    ),
    (rf"(?P<activation_gib>{NUMBER}) GiB for peak activation", {"activation_gib": float}),
    (r"Using max model len (?P<max_model_len>\d+)", {"max_model_len": _int}),
    (
        r"Chunked prefill is enabled with max_num_batched_tokens=(?P<max_num_batched_tokens>\d+)",
        {"max_num_batched_tokens": _int},
    ),
    (
        r"Using (?:AttentionBackendEnum\.)?(?P<attention_backend>[A-Z]\w+) (?:attention backend|backend out of)",
        {"attention_backend": str},
    ),
    (r"Resolved architecture: (?P<architecture>\w+)", {"architecture": str}),
    (rf"Loading weights took (?P<loading_s>{NUMBER}) seconds", {"loading_s": float}),
    (
        rf"init engine \(profile, create kv cache, warmup model\) took (?P<init_s>{NUMBER}) ?s",
        {"init_s": float},
    ),
    (
        r"(?P<compiled>Directly load|Compiling a graph for)",
        {"compiled": lambda text: "warm" if text.startswith("Directly") else "cold"},
    ),
    (rf"torch\.compile (?:takes|took) (?P<compile_s>{NUMBER}) s in total", {"compile_s": float}),
)
_FORMS = tuple((re.compile(pattern), kinds) for pattern, kinds in _PATTERNS)


def figures(text: str) -> dict[str, Figure]:
    """Return every figure one line of a start-up has, by name; units are in the names."""
    found: dict[str, Figure] = {}
    for pattern, kinds in _FORMS:
        if match := pattern.search(text):
            found |= {name: kinds[name](value) for name, value in match.groupdict().items() if value is not None}
    return found


def version(text: str) -> str | None:
    """Return the engine's version, where a line says it."""
    match = VERSION.search(text)
    return next((value for value in match.groups() if value), None) if match else None


def model(text: str) -> str | None:
    """Return the model, where a line says it."""
    match = _MODEL.search(text)
    return next((value for value in match.groups() if value), None) if match else None


def arguments(text: str) -> dict[str, Any] | None:
    """Return what a server was started with: the API server's arguments that are not its defaults, or all it has.

    Values that are no plain Python literals (``dtype=<…>``) are left out.
    """
    match = ARGUMENTS.search(text)
    if not match:
        return None
    rest = match["rest"].strip()
    try:
        tree = ast.parse(rest if rest.startswith("{") else f"f{rest}", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if isinstance(tree, ast.Dict):
        pairs = [
            (key.value, value)
            for key, value in zip(tree.keys, tree.values, strict=True)
            if isinstance(key, ast.Constant)
        ]
    elif isinstance(tree, ast.Call):
        pairs = [(word.arg, word.value) for word in tree.keywords]
    else:
        return None
    return {str(name): value for name, node in pairs if (value := _literal(node)) is not None}


def _literal(node: ast.expr) -> Any:  # noqa: ANN401 - any literal
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
