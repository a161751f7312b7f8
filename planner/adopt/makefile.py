"""Makefiles -> a shell's text: variables as assignments, the recipes of all targets one after another."""

import re

_ASSIGNED = re.compile(r"(?:export\s+)?(?P<name>\w+)\s*(?P<how>::?=|\?=|\+=|=)\s*(?P<value>.*)")
_REFERENCE = re.compile(r"\$\$|\$[({](\w+)[)}]")


def recipes(text: str) -> str:
    """Return what ``make`` would pass to a shell; what comes of functions such as ``$(shell …)`` stays as written."""
    lines = []
    for line in re.sub(r"\\\n[ \t]*", " ", text).splitlines():
        if line.startswith("\t"):
            lines.append(_put(line.strip().lstrip("@-+")))
        elif match := _ASSIGNED.fullmatch(line.strip()):
            value = re.sub(r"\s+#.*", "", match["value"])
            lines.append(f'{match["name"]}{"+=" if match["how"] == "+=" else "="}"{_put(value)}"')
    return "\n".join(lines)


def _put(text: str) -> str:
    return _REFERENCE.sub(lambda match: f"${{{match[1]}}}" if match[1] else "$", text)
