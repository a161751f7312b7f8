"""Text that came from a person or a model hub, made safe for the language of one artifact.

Every function takes a string and returns the string as it must be written in that language, quotes included, so that
the program which reads the artifact gets exactly the original back. Templates never write a value without one of them.
A NUL cannot be carried by any of these languages, so it is refused.
"""

import hashlib
import json
import re
import shlex
from collections.abc import Callable

from planner.units import format_gib
from planner.yaml_text import is_text

_PLAIN = re.compile(r"[A-Za-z0-9._-]+")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_WORD = re.compile(r"[A-Za-z0-9_./:=,@+-]+")
# What YAML 1.2 does not allow, or does not keep, as it stands inside double quotes: C0, DEL, C1, the line and
# paragraph separators, surrogates, the byte order mark (YAML 1.2.2, sections 5.1 and 5.4).
_YAML_ESCAPED = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff"\\\\]')
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def shell(value: object) -> str:
    """Quote one word for POSIX shells; a comma too, which readers of an array would take for a mistake."""
    text = _text(value)
    quoted = shlex.quote(text)
    return f"'{text}'" if quoted == text and "," in text else quoted


def yaml(value: object) -> str:
    """Write a YAML double-quoted scalar."""
    return '"' + _YAML_ESCAPED.sub(_yaml_escape, _text(value)) + '"'


def yaml_word(value: object) -> str:
    """Write a YAML scalar, such as a name in a place where people expect it bare, with quotes only where it needs them.

    It needs them where a reader of YAML 1.1 or of YAML 1.2 would take it for a number, a boolean or anything else.
    """
    text = _text(value)
    return text if _PLAIN.fullmatch(text) and text[0] not in ".-" and is_text(text) else yaml(text)


def compose(value: object) -> str:
    """Write a YAML double-quoted scalar where ``$`` starts a variable and ``$$`` is a dollar.

    That is so in Compose files and in the command lines of Kubernetes.
    """
    return yaml(_text(value).replace("$", "$$"))


def systemd(value: object) -> str:
    """Quote one argument of a systemd ``Exec…=`` line: no specifier, no variable, C escapes inside double quotes."""
    return _systemd(_text(value).replace("$", "$$"))


def systemd_setting(value: object) -> str:
    """Quote one value of any other systemd setting, such as ``Environment=``, where ``$`` has no meaning."""
    return _systemd(_text(value))


def systemd_text(value: object) -> str:
    """Write part of an unquoted systemd setting, such as ``Description=``; text must follow it on the line."""
    return comment(value).replace("%", "%%")


def haproxy(value: object) -> str:
    """Quote one argument of an HAProxy configuration line (configuration manual, section 2.2, "Quoting and escaping").

    Inside double quotes only ``"``, ``$`` and the backslash are special; control characters are written in hexadecimal.
    """
    text = _text(value)
    if _WORD.fullmatch(text):
        return text
    escaped = re.sub(r'(["$\\])', r"\\\1", text)
    return '"' + _CONTROL.sub(lambda match: "".join(f"\\x{byte:02X}" for byte in match[0].encode()), escaped) + '"'


def json_text(value: object) -> str:
    """Write JSON on one line, ASCII only; strings, numbers, lists and mappings."""
    return json.dumps(value, ensure_ascii=True)


def comment(value: object) -> str:
    """Write text that must stay on its line, for comments and prose: control characters become visible escapes."""
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", str(value))


def markdown(value: object) -> str:
    """Write an inline code span that no content can leave."""
    text = comment(value)
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def slug(value: object) -> str:
    """Write a name for files, services and units: letters, digits, ``.``, ``_``, ``-``, and never a path or an option.

    Names that the fleet loader admits stay as they are, but for a few: no slug is longer than 64 characters, ends with
    ``-`` or holds ``--``, so that ``--`` can stand between two of them. Any other name becomes its readable characters
    and a hash of all of it, so that different names stay different.
    """
    text = _text(value)
    if _PLAIN.fullmatch(text) and text[0] not in ".-" and text[-1] != "-" and "--" not in text and len(text) <= 64:
        return text
    readable = re.sub("[^A-Za-z0-9]+", "-", text)[:24].strip("-")
    return f"{readable}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def unit_prefix(fleet: str) -> str:
    """Return what the names of a fleet's units, containers and objects begin with; ``--`` separates what follows."""
    return f"planner-{slug(fleet)}"


def label(value: object, length: int = 63) -> str:
    """Write a DNS label for Kubernetes names (RFC 1123: lower case, digits, ``-``; at most 63 characters, or fewer).

    A label stays as it is; any other name becomes its readable characters and a hash of all of it, so that different
    names stay different.
    """
    text = _text(value)
    if _LABEL.fullmatch(text) and len(text) <= length:
        return text
    readable = re.sub("[^a-z0-9]+", "-", text.lower())[: min(48, length - 13)].strip("-")
    return f"{readable or 'x'}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def csv_field(value: object) -> str:
    """Write one field of a comma-separated list, such as podman's ``--mount`` (RFC 4180)."""
    return '"' + _text(value).replace('"', '""') + '"'


def gib(value: object) -> str:
    """Print bytes as GiB for a reader."""
    return format_gib(int(str(value)))


FILTERS: dict[str, Callable[..., str]] = {
    "shell": shell,
    "yaml": yaml,
    "yaml_word": yaml_word,
    "compose": compose,
    "systemd": systemd,
    "systemd_setting": systemd_setting,
    "systemd_text": systemd_text,
    "haproxy": haproxy,
    "json_text": json_text,
    "comment": comment,
    "markdown": markdown,
    "slug": slug,
    "label": label,
    "csv_field": csv_field,
    "gib": gib,
}


def _text(value: object) -> str:
    text = str(value)
    if "\0" in text:
        raise ValueError(f"a NUL character cannot be written into an artifact: {text!r}")
    return text


def _yaml_escape(match: re.Match[str]) -> str:
    char = match[0]
    if char in '"\\':
        return "\\" + char
    return f"\\x{ord(char):02X}" if ord(char) < 0x100 else f"\\u{ord(char):04X}"


def _systemd(text: str) -> str:
    if _WORD.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return '"' + _CONTROL.sub(_systemd_escape, escaped) + '"'


def _systemd_escape(match: re.Match[str]) -> str:
    r"""A character, not its bytes: podman's generator takes two ``\x`` for two characters."""
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
