"""What kind of file a text is, where no name tells."""

import re

_YAML = re.compile(r"---|[{]|\"?[A-Za-z_][\w./-]*\"?\s*:(?:\s|$)")
_DOCKERFILE = re.compile(r"(?:FROM|ARG)\s", re.I)


def usual_name(text: str) -> str:
    """Return what a file with this text is usually called: its first line that is no comment tells.

    A Dockerfile, a Quadlet, a unit, YAML or JSON; anything else is a script.
    """
    lines = (line.strip() for line in text.removeprefix("\ufeff").splitlines())
    first = next((line for line in lines if line and line[0] not in "#;"), "")
    if first.startswith("["):
        return "stdin.container" if re.search(r"^\[Container\]", text, re.M) else "stdin.service"
    if _DOCKERFILE.match(first):
        return "Dockerfile"
    return "stdin.yaml" if _YAML.match(first) and not text.startswith("#!") else "stdin.sh"
