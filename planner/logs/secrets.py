"""Secrets in somebody's files and logs: what is said about a server never repeats them."""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"

_WORDS = frozenset({"key", "apikey", "token", "secret", "password", "passwd", "pwd", "credential", "credentials"})
_BETWEEN_WORDS = re.compile(r"[^A-Za-z0-9]+")
_REFERENCE = re.compile(r"\$\{?\w+\}?|\{\{.*\}\}|%\(?\w+\)?s?")
_ALONE = re.compile(
    r"\bhf_[A-Za-z0-9]{8,}"  # the Hub's
    r"|\b(?:sk|pk|rk|ghp|gho|glpat|nvapi|xox[a-z])[-_][A-Za-z0-9_-]{8,}"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # of a user in a URL
    r"|(?<=bearer )[A-Za-z0-9._~+/-]{8,}=*",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"""((?:--[\w-]*(?:key|token|secret|password)\s+|(?:api[_-]?key|token|secret|password|passwd)["']?\s*[=:]\s*)\[?)"""
    r"""("[^"]+"|'[^']+'|[^\s,'"\]})]{7,})""",
    re.IGNORECASE,
)


def is_secret(name: str) -> bool:
    """Whether a flag or variable of this name holds a secret: its last word says so, as of VLLM_API_KEY."""
    return _BETWEEN_WORDS.split(name)[-1].lower() in _WORDS


def without_secrets(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return flags or variables with the values of secrets hidden; a reference to a variable is none."""
    return {name: _hidden(value) if is_secret(name) else plain(value) for name, value in named.items()}


def _hidden(value: Any) -> Any:  # noqa: ANN401 - any value of a flag
    if isinstance(value, list | tuple):
        return [_hidden(item) for item in value]
    if not isinstance(value, str) or not value or _REFERENCE.fullmatch(value):
        return value
    return HIDDEN


def plain(value: Any) -> Any:  # noqa: ANN401 - any plain data
    """Return data with every secret hidden that can be told by itself."""
    if isinstance(value, str):
        return _ALONE.sub(HIDDEN, value)
    if isinstance(value, dict):
        return without_secrets(value)
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def line_without_secrets(text: str) -> str:
    """Return a line of a log with the secrets in it hidden, also where only the name before it says what it is."""
    return _NAMED.sub(lambda match: match[1] + HIDDEN, _ALONE.sub(HIDDEN, text))
