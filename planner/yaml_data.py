"""A YAML file of data -> plain data, fast; what the package ships is parsed once for each user."""

from pathlib import Path
from typing import Any

from planner.cache import kept
from planner.resources import data_folder


class UnreadableData(Exception):
    """A data file that is no YAML: what is wrong, and the line and column where it is (0: not known)."""

    def __init__(self, problem: str, line: int = 0, column: int = 0) -> None:
        super().__init__(problem, line, column)
        self.problem = problem
        self.line = line
        self.column = column

    def __str__(self) -> str:
        place = f" (line {self.line}, column {self.column})" if self.line else ""
        return f"{self.problem}{place}"


def read_data(path: Path) -> Any:  # noqa: ANN401 - plain YAML data
    """Return the data of a YAML file.

    Raises:
        UnreadableData: it cannot be read, or is no YAML.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableData(error.strerror or str(error)) from error
    if path.is_relative_to(data_folder("catalog")):
        return kept(path, content, lambda: _parsed(content))
    return _parsed(content)


def _parsed(content: bytes) -> Any:  # noqa: ANN401 - plain YAML data
    import yaml  # not loaded where everything is in the cache

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(content, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise UnreadableData(error.problem or str(error), line, column) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableData(str(error)) from error
