"""EngineSettings: what a user pins of the engine for one role, and how each pin becomes options of a command line.

A pin is one field here and one row of ``SETTINGS``: its key in fleet.yaml, the field of ``ServeFlags`` that the memory
model reads it from, and how it is written as options and read back. Everything else follows from the row: the plan, the
command lines, ``planner verify``, ``check``, ``diff`` and what may be left out where there is no plan.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from planner.engine import extra_args
from planner.engine.adapters import ADAPTER_OPTIONS, Lora, lora_flags, lora_options, read_lora, say_lora
from planner.engine.images import Images, read_images, say_images, write_images
from planner.engine.options import EngineOptions, Words, option_refusal
from planner.engine.speculation import Speculation, read_speculation, say_speculation, write_speculation
from planner.units import GIB, format_gib


class EngineSettings(Struct, frozen=True, kw_only=True):
    """What a role asks of its servers' engine beyond the limits that a plan chooses.

    A field with its default asks for nothing. ``eager`` runs without compiling and without CUDA graphs.
    ``cpu_offload_bytes`` of the weights on each GPU are kept in host memory, and ``kv_offload_bytes`` of the KV cache
    that all GPUs of a server share. ``block_size`` are the tokens of a block of the KV cache. ``mamba_cache_dtype``
    is that of recurrent states with their convolutions, ``mamba_ssm_cache_dtype`` of the states alone. CUDA graphs are
    captured for the ``capture_sizes``, or up to ``max_capture_size``. ``attention_backend`` and ``moe_backend`` are
    what attention and experts run with, as the engine spells them. ``env`` are variables such as ``NAME=value``, and
    ``extra_args`` further options, each a text as a shell reads it. ``speculative_auto`` leaves it to the planner
    whether tokens are drafted ahead. ``language_model_only`` loads no encoder of images, videos or audio.
    """

    eager: bool = False
    cpu_offload_bytes: int = 0
    kv_offload_bytes: int = 0
    block_size: int | None = None
    mamba_cache_dtype: str = ""
    mamba_ssm_cache_dtype: str = ""
    capture_sizes: tuple[int, ...] = ()
    max_capture_size: int | None = None
    attention_backend: str = ""
    moe_backend: str = ""
    env: tuple[str, ...] = ()
    extra_args: tuple[str, ...] = ()
    lora: Lora | None = None
    speculative: Speculation | None = None
    speculative_auto: bool = False
    images: Images | None = None
    language_model_only: bool = False

    def __bool__(self) -> bool:
        """Whether anything is pinned."""
        return self is not NOTHING and self != NOTHING

    @property
    def asked(self) -> tuple[str, ...]:
        """The variables and further options, as they were asked for."""
        return (*self.env, *self.extra_args)

    @property
    def repositories(self) -> tuple[str, ...]:
        """What a server loads beside its model: adapters, and the model that drafts."""
        adapters = tuple(repository for _, repository in self.lora.names) if self.lora else ()
        drafter = self.speculative.model if self.speculative else ""
        return (*adapters, *((drafter,) if drafter else ()))

    @property
    def adapter_names(self) -> tuple[str, ...]:
        """The model names of adapters that clients ask for."""
        return self.lora.model_names if self.lora else ()

    def host_bytes(self, gpus: int, engines: int = 1) -> int:
        """Return the host memory that is set aside for a server on so many GPUs; data-parallel ranks are engines."""
        return self.cpu_offload_bytes * gpus + self.kv_offload_bytes * engines


NOTHING = EngineSettings()
"""Everything is left to the planner and the engine."""


def _switch(value: object) -> Words:
    return ()


def _true(words: Words) -> bool:
    return True


def _word(value: object) -> Words:
    return (str(value),)


def _text(words: Words) -> str:
    return words[0]


def _number(words: Words) -> int:
    return int(words[0])


def _numbers(value: tuple[int, ...]) -> Words:
    return tuple(str(item) for item in value)


def _several(words: Words) -> tuple[int, ...] | None:
    return tuple(map(int, words)) if len(words) > 1 else None


def _alone(words: Words) -> int | None:
    return int(words[0]) if len(words) == 1 else None


def _gib(value: int) -> Words:
    """Write bytes as the GiB they are, without an exponent."""
    return (f"{Decimal(value) / GIB:f}",)


def _bytes(words: Words) -> int:
    return round(float(words[0]) * GIB)


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return "true" if value is True else str(value)


_UNKNOWN = "what it costs in memory is not known"


def _extra(value: tuple[str, ...]) -> str:
    return ", ".join(f"{one} ({_UNKNOWN})" if extra_args.unpriced(one) else one for one in value)


def _variables(value: tuple[str, ...]) -> str:
    return ", ".join(f"{one} ({_UNKNOWN})" if extra_args.environment_unpriced(one) else one for one in value)


class Setting(Struct, frozen=True, kw_only=True):
    """One field of ``EngineSettings``: where it comes from and where it goes.

    ``key`` is that of a role in fleet.yaml, ``flag`` the field of ``ServeFlags`` that holds the same value (empty: none
    does). ``options`` are its names on a command line, of which an engine version has the first that it knows; none
    when it becomes no option. ``write`` gives the words after the option and ``read`` is its reverse, None where the
    words belong to another row with the same option; ``say`` writes a value for people, and that it may cost memory
    which no ledger counts. What takes several fields of ``ServeFlags`` has ``spread``, and what
    becomes several options has them from ``several`` and is read back by ``gather``.
    """

    field: str
    key: str
    flag: str = ""
    options: tuple[str, ...] = ()
    write: Callable[[Any], Words] = _word
    read: Callable[[Words], Any] = _text
    say: Callable[[Any], str] = _plain
    spread: Callable[[Any], dict[str, Any]] | None = None
    several: Callable[[Any], tuple[tuple[str, Words], ...]] | None = None
    gather: Callable[[Mapping[str, Words]], Any] | None = None

    def option(self, known: EngineOptions) -> str:
        """Return the option's name in an engine version; the newest name where it has none, which is refused there."""
        return next((name for name in self.options if name in known.flags), self.options[0])


SETTINGS = (
    Setting(
        field="eager",
        key="eager",
        flag="enforce_eager",
        options=("--enforce-eager",),
        write=_switch,
        read=_true,
    ),
    Setting(
        field="cpu_offload_bytes",
        key="cpu_offload",
        flag="cpu_offload_bytes",
        options=("--cpu-offload-gb",),
        write=_gib,
        read=_bytes,
        say=format_gib,
    ),
    Setting(
        field="kv_offload_bytes",
        key="kv_offload",
        options=("--kv-offloading-size",),
        write=_gib,
        read=_bytes,
        say=format_gib,
    ),
    Setting(
        field="block_size",
        key="block_size",
        flag="block_size",
        options=("--block-size",),
        read=_number,
    ),
    Setting(
        field="mamba_cache_dtype",
        key="mamba_cache_dtype",
        flag="mamba_cache_dtype",
        options=("--mamba-cache-dtype",),
    ),
    Setting(
        field="mamba_ssm_cache_dtype",
        key="mamba_ssm_cache_dtype",
        flag="mamba_ssm_cache_dtype",
        options=("--mamba-ssm-cache-dtype",),
    ),
    Setting(
        field="capture_sizes",
        key="capture_sizes",
        flag="capture_sizes",
        options=("--cudagraph-capture-sizes", "--cuda-graph-sizes"),
        write=_numbers,
        read=_several,
    ),
    Setting(
        field="max_capture_size",
        key="max_capture_size",
        flag="max_capture_size",
        options=("--max-cudagraph-capture-size", "--cuda-graph-sizes"),
        read=_alone,
    ),
    Setting(
        field="attention_backend",
        key="attention_backend",
        flag="attention_backend",
        options=("--attention-backend",),
    ),
    Setting(
        field="moe_backend",
        key="moe_backend",
        options=("--moe-backend",),
        say=lambda value: f"{value} ({_UNKNOWN})",
    ),
    Setting(field="env", key="env", say=_variables),
    Setting(field="extra_args", key="extra_args", say=_extra),
    Setting(
        field="lora",
        key="lora",
        options=ADAPTER_OPTIONS,
        say=say_lora,
        spread=lora_flags,
        several=lora_options,
        gather=read_lora,
    ),
    Setting(
        field="speculative",
        key="speculative",
        flag="speculative",
        options=("--speculative-config",),
        write=write_speculation,
        read=read_speculation,
        say=say_speculation,
    ),
    Setting(
        field="speculative_auto",
        key="speculative",
        say=lambda _: "auto: off, because no measurement says that drafts are accepted often enough to gain from them",
    ),
    Setting(
        field="images",
        key="images",
        options=("--limit-mm-per-prompt",),
        write=write_images,
        read=read_images,
        say=say_images,
        spread=lambda images: {"mm_limits": images.limits},
    ),
    Setting(
        field="language_model_only",
        key="language_model_only",
        flag="language_model_only",
        options=("--language-model-only",),
        write=_switch,
        read=_true,
    ),
)
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
    if not settings:
        return {}
    found: dict[str, Any] = {}
    for setting, value in pinned(settings):
        found |= setting.spread(value) if setting.spread else {setting.flag: value} if setting.flag else {}
    return {**found, **extra_args.priced(settings.extra_args)}


def settings_options(settings: EngineSettings, known: EngineOptions) -> tuple[tuple[str, Words], ...]:
    """Return the options that the pins become in an engine version, each with its words."""
    if not settings:
        return ()
    found: list[tuple[str, Words]] = []
    for setting, value in pinned(settings):
        if setting.several:
            found += setting.several(value)
        elif setting.options:
            found.append((setting.option(known), setting.write(value)))
    given = map(extra_args.split, settings.extra_args)
    return (*found, *((extra_args.in_version(flag, known.flags), words) for flag, words in given))


def unknown_option(settings: EngineSettings, known: EngineOptions) -> str:
    """Return one sentence for the first option or value that an engine version does not have, else nothing."""
    refusals = (option_refusal(name, words, known) for name, words in settings_options(settings, known))
    return next(filter(None, refusals), "")


def read_settings(options: Mapping[str, Words], planned: EngineSettings = NOTHING) -> EngineSettings:
    """Return the settings that options of a command line ask for; the reverse of ``settings_options``.

    Which of the options are extra is as ``planned``, and so is what becomes no option, such as the environment.

    Raises:
        ValueError: an option's words are none that it takes.
    """
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        if setting.gather:
            values[setting.field] = setting.gather(options)
            continue
        if not setting.options:
            values[setting.field] = getattr(planned, setting.field)
            continue
        name = next((name for name in setting.options if name in options), None)
        if name is not None and (value := setting.read(options[name])) is not None:
            values[setting.field] = value
    return EngineSettings(**values | {"extra_args": tuple(_extra_in(options, planned))})


def _extra_in(options: Mapping[str, Words], planned: EngineSettings) -> Iterator[str]:
    """Yield the extra options as a command line has them, with the names that are planned."""
    for flag, _ in map(extra_args.split, planned.extra_args):
        words = extra_args.words_in(flag, options)
        if words is not None:
            yield extra_args.joined(flag, words)


def defaults() -> dict[str, Any]:
    """Return what each field is when nothing is asked for."""
    return {name: getattr(NOTHING, name) for name in EngineSettings.__struct_fields__}
