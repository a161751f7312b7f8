"""EngineSettings: what a user pins of the engine for one role, and how each pin becomes options of a command line.

A pin is one field here and one row of ``SETTINGS``: its key in fleet.yaml, the field of ``ServeFlags`` that the memory
model reads it from, and how it is written as options and read back. Everything else follows from the row: the plan, the
command lines, ``planner verify``, ``check``, ``diff`` and what may be left out where there is no plan.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

from planner.engine.options import EngineOptions

Words: TypeAlias = tuple[str, ...]
"""What follows an option on a command line; nothing after a switch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What a role asks of its servers' engine beyond the limits that a plan chooses.

    A field with its default asks for nothing. ``eager`` runs without compiling and without CUDA graphs.
    """

    eager: bool = False

    def __bool__(self) -> bool:
        """Whether anything is pinned."""
        return self != NOTHING


NOTHING = EngineSettings()
"""Everything is left to the planner and the engine."""


def _switch(value: object) -> Words:
    return ()


def _true(words: Words) -> Any:  # noqa: ANN401 - the value of any field
    return True


def _plain(value: object) -> str:
    return "true" if value is True else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One field of ``EngineSettings``: where it comes from and where it goes.

    ``key`` is that of a role in fleet.yaml, ``flag`` the field of ``ServeFlags`` that holds the same value (empty: it
    costs no memory). ``options`` are its names on a command line, of which an engine version has the first that it
    knows; none when it becomes no option. ``write`` gives the words after the option and ``read`` is its reverse;
    ``say`` writes a value for people.
    """

    field: str
    key: str
    flag: str = ""
    options: tuple[str, ...] = ()
    write: Callable[[Any], Words] = _switch
    read: Callable[[Words], Any] = _true
    say: Callable[[Any], str] = _plain

    def option(self, known: EngineOptions) -> str:
        """Return the option's name in an engine version; the newest name where it has none, which is refused there."""
        return next((name for name in self.options if name in known.flags), self.options[0])


SETTINGS = (Setting(field="eager", key="eager", flag="enforce_eager", options=("--enforce-eager",)),)
"""Every pin, in the order in which command lines and texts have them."""


def pinned(settings: EngineSettings) -> tuple[tuple[Setting, Any], ...]:
    """Return the pins of some settings with their values, in the order of ``SETTINGS``."""
    found = ((setting, getattr(settings, setting.field)) for setting in SETTINGS)
    return tuple((setting, value) for setting, value in found if value != getattr(NOTHING, setting.field))


def without_pin(settings: EngineSettings, setting: Setting) -> EngineSettings:
    """Return the settings with one pin left out."""
    return replace(settings, **{setting.field: getattr(NOTHING, setting.field)})


def serve_flags(settings: EngineSettings) -> dict[str, Any]:
    """Return the fields of ``ServeFlags`` that the pins decide, for ``default_flags``."""
    return {setting.flag: value for setting, value in pinned(settings) if setting.flag}


def settings_options(settings: EngineSettings, known: EngineOptions) -> tuple[tuple[str, Words], ...]:
    """Return the options that the pins become in an engine version, each with its words."""
    found = ((setting.option(known), setting.write(value)) for setting, value in pinned(settings) if setting.options)
    return tuple(found)


def read_settings(options: Mapping[str, Words]) -> EngineSettings:
    """Return the settings that options of a command line ask for; the reverse of ``settings_options``.

    Raises:
        ValueError: an option's words are none that it takes.
    """
    values = {}
    for setting in SETTINGS:
        name = next((name for name in setting.options if name in options), None)
        if name is not None:
            values[setting.field] = setting.read(options[name])
    return EngineSettings(**values)


def defaults() -> dict[str, Any]:
    """Return what each field is when nothing is asked for."""
    return {one.name: getattr(NOTHING, one.name) for one in fields(EngineSettings)}
