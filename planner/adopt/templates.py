"""Expressions of templates that nobody has filled in, kept whole through YAML and shells: ``{{ .Values.model }}``.

An expression has blanks, quotes and braces that mean something to whatever reads the file. It is hidden by moving its
characters to Unicode's private area, where they mean nothing, and shown again once the words are told apart.
"""

import re
from typing import Any

_EXPRESSION = re.compile(r"\{\{(?!\{).*?\}\}", re.S)
_CONTROL = re.compile(r"^[ \t]*(?:(?:\{\{(?!\{)[^\n]*?\}\}|\{%[^\n]*?%\}|\{#[^\n]*?#\})[ \t]*)+$", re.M)
_AREA = 0xE000
HIDDEN = re.compile("[\ue000-\ue07f]+")
"""One expression as it is hidden."""
_SHOWN = {_AREA + code: code for code in range(128)}
_HIDDEN = {code: _AREA + code for code in range(128)}


def hide(text: str) -> str:
    """Return a file's text with its expressions hidden, and without lines that only steer its template."""
    return _EXPRESSION.sub(lambda match: match[0].translate(_HIDDEN), _CONTROL.sub("", text)) if "{" in text else text


def show(value: Any) -> Any:  # noqa: ANN401 - any plain data
    """Return a text, or plain data with texts, as the file has it."""
    if isinstance(value, str):
        return value.translate(_SHOWN)
    if isinstance(value, dict):
        return {show(key): show(inner) for key, inner in value.items()}
    return type(value)(show(inner) for inner in value) if isinstance(value, list | tuple) else value
