"""Speculative decoding: what a role asks for, what it adds to every request, and its option on a command line."""

import json
from typing import Literal, TypeAlias, get_args

from msgspec import Struct

from planner.engine.options import Words
from planner.engine.versions import parse_version

Method: TypeAlias = Literal["ngram", "mtp", "eagle3", "draft_model"]

METHODS: tuple[str, ...] = get_args(Method)
DRAFTED = ("eagle3", "draft_model")
"""Methods that draft with a model of their own."""
LARGEST_TOKENS = 16
NGRAM_TOKENS = 4
"""The longest run of tokens that is looked up in the prompt, which the engine wants stated."""
SINCE = {"ngram": "0.8.5", "mtp": "0.12.0", "eagle3": "0.9.0", "draft_model": "0.14.0"}
"""The first version that has a method under its name (config/speculative.py and its predecessors)."""
_SECOND_SINCE = {"ngram": "0.32.0", "draft_model": "0.31.0"}


class Speculation(Struct, frozen=True, kw_only=True):
    """Tokens that are drafted ahead and verified together: ``tokens`` of them, by a ``method``.

    ``model`` is the repository of the model that drafts, empty where the prompt or the model's own heads do.
    """

    method: str
    tokens: int
    model: str = ""

    @property
    def lookahead_tokens(self) -> int:
        """The slots that a drafter writes past what the model is scheduled for.

        Source: ``config/vllm.py:num_lookahead_tokens`` 0.33.0, ``v1/core/sched/scheduler.py`` before.
        """
        return 0 if self.method == "ngram" else self.tokens

    @property
    def reserved_tokens(self) -> int:
        """The tokens that a request may have slots for beyond its own: drafts to verify, and those drafted next."""
        return self.tokens + self.lookahead_tokens

    @property
    def query_tokens(self) -> int:
        """The tokens of one sequence in a step: the last one sampled and the drafts."""
        return 1 + self.tokens


def second_runner_takes(speculation: Speculation | None, version: str) -> bool:
    """Whether an engine version's second model runner can do it; the first one does otherwise.

    Source: ``config/vllm.py:_get_v2_model_runner_unsupported_features`` 0.22.0 to 0.33.0.
    """
    first = _SECOND_SINCE.get(speculation.method) if speculation else None
    return first is None or parse_version(version) >= parse_version(first)


def write_speculation(speculation: Speculation) -> Words:
    """Return what follows ``--speculative-config``."""
    stated: dict[str, str | int] = {"method": speculation.method, "num_speculative_tokens": speculation.tokens}
    if speculation.model:
        stated["model"] = speculation.model
    if speculation.method == "ngram":
        stated["prompt_lookup_max"] = NGRAM_TOKENS
    return (json.dumps(stated, separators=(",", ":")),)


def read_speculation(words: Words) -> Speculation | None:
    """Return the speculation that ``--speculative-config`` asks for; None for a method that is not known here.

    Raises:
        ValueError: it is no JSON object, or lacks a part.
    """
    stated = json.loads(" ".join(words))
    if not isinstance(stated, dict):
        raise ValueError("a speculative config is a JSON object")
    return speculation_of(stated)


def speculation_of(stated: dict[str, object]) -> Speculation | None:
    """Return what a speculative config says; None for a method that is not known here, or without tokens."""
    method = str(stated.get("method", ""))
    if method.endswith("_mtp"):  # the names of older versions, one for each class
        method = "mtp"
    tokens = stated.get("num_speculative_tokens", 1 if method == "mtp" else None)
    if method not in METHODS or not isinstance(tokens, int):
        return None
    return Speculation(method=method, tokens=tokens, model=str(stated.get("model") or ""))


def say_speculation(speculation: Speculation) -> str:
    """Write it for people: ``3 tokens by ngram``."""
    by = f" with {speculation.model}" if speculation.model else ""
    return f"{speculation.tokens} token{'s' * (speculation.tokens != 1)} by {speculation.method}{by}"
