"""A model folder on disk as a candidate: its config.json in the place of a catalog entry."""

from pathlib import Path

from planner.checkpoint import read_config, read_folder
from planner.facts.variant import Model, Variant


def is_folder(name: str) -> bool:
    """Whether a model name is a path: it begins with ``./``, ``../``, ``/`` or ``~/``, which no catalog name does."""
    return name in (".", "..") or name.startswith(("./", "../", "/", "~/"))


def local_model(name: str, folder: Path) -> Model:
    """Read the model in a folder; a relative name starts at ``folder``.

    The model has one variant, no published accuracy and no tasks of its own.

    Raises:
        InvalidConfig: no config.json, or one that is broken.
        UnsupportedModel: an architecture or quantization that cannot be sized.
    """
    shown = folder / Path(name).expanduser()
    checkpoint = read_folder(shown)
    path = shown.resolve()
    quantized = checkpoint.quantization.method is not None
    variant = Variant(
        repository=str(path),
        scheme=checkpoint.quantization.scheme,
        scheme_class="unknown" if quantized else "",
        native=not quantized,
        published_bytes=checkpoint.stored_bytes,
        published_source="safetensors files" if checkpoint.tensors else "",
        sources=(str(path),),
        path=str(path),
    )
    return Model(
        name=checkpoint.name,
        repository=str(path),
        aliases=(),
        family="local",
        tasks=(),
        licence="",
        non_commercial=False,
        gated=False,
        released="",
        parameters=0,
        parameters_grade="",
        active_parameters=None,
        mixture=False,
        config=read_config(path),
        variants=(variant,),
        sources=(str(path),),
    )
