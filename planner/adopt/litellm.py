"""LiteLLM configurations: the vLLM servers behind a router, as far as it says, and what else it sends requests to."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from planner.adopt.documents import at
from planner.adopt.server import Other, Server
from planner.adopt.templates import show

_OURS = ("hosted_vllm", "vllm")
"""Prefixes that LiteLLM has for vLLM (its list of providers)."""


def behind(document: Mapping[str, Any], file: str, known: Collection[str]) -> Iterator[Server | Other]:
    """Yield what a router's models are served by; a server that another file starts, by its host, is told there."""
    entries = document.get("model_list")
    for entry in entries if isinstance(entries, list) else []:
        word = str(show(at(entry, "litellm_params", "model") or ""))
        provider, slash, model = word.partition("/")
        address = str(at(entry, "litellm_params", "api_base") or "")
        name = str(show(at(entry, "model_name") or model))
        if not slash:
            provider, model = "openai", word
        if _host(address) in known:
            continue
        if provider in _OURS:
            yield Server(name=name, model=model, flags={}, file=file)
        elif word:
            own = provider == "openai" and address
            yield Other(name, "an OpenAI-compatible server" if own else provider)


def _host(address: str) -> str:
    """Return the host of an address; empty where it is none, or not known yet."""
    if not re.match(r"https?://", address):
        return ""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
