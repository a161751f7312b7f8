"""``planner catalog``: list, show, search, check and add models and GPUs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from planner.catalog import Catalog, load_catalog
from planner.cli import names
from planner.cli.catalog_facts import Checkpoint, gpu_json, model_json
from planner.cli.catalog_models import models_table
from planner.cli.catalog_search import Query, read_query
from planner.cli.catalog_text import checked_text, gpu_text, gpus_table, model_text
from planner.cli.colour import shown
from planner.cli.exit_codes import EXIT_ERROR
from planner.cli.json_text import json_option, say_files, say_json
from planner.cli.shared import catalog_option, hint
from planner.errors import UnknownName
from planner.facts.gpu import GPU
from planner.facts.variant import Model
from planner.plain_data import as_dict
from planner.resources import data_folder, user_catalog
from planner.units import BILLION


@click.group()
def catalog() -> None:
    """List, show, search, add and check models, checkpoints and GPUs."""


def _filter_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        json_option,
        catalog_option,
        click.option(
            "--fits-on", type=names.GPU, metavar="GPU", help="Checkpoints whose weights take at most 90 % of this GPU."
        ),
        click.option("--scheme", metavar="NAME", help="Quantization scheme: bf16, awq-int4, fp8, w4a16, …"),
        click.option("--commercial", is_flag=True, help="Leave out non-commercial licences."),
        click.option("--licence", metavar="NAME", help="Licence of the base model, such as apache-2.0."),
        click.option("--max-size", type=float, metavar="B", help="At most this many billion parameters."),
        click.option("--min-size", type=float, metavar="B", help="At least this many billion parameters."),
        click.option("--task", metavar="TASK", help="A task the model is for: code, general, reasoning, …"),
    ):
        command = option(command)
    return command


@catalog.command("list")
@click.option("--gpus", "only_gpus", is_flag=True, help="List the GPUs instead.")
@_filter_options
def list_command(only_gpus: bool, as_json: bool, catalog_folders: tuple[Path, ...], **wanted: Any) -> None:  # noqa: ANN401
    """List the models with their checkpoints, and the GPUs."""
    opened = load_catalog(overlays=catalog_folders)
    chosen = [] if only_gpus and not as_json else list(_chosen(opened, Query(), **wanted))
    if as_json:
        models = [model_json(opened, model, checkpoints) for model, checkpoints in chosen]
        say_json({"models": models, "gpus": [gpu_json(opened, gpu) for gpu in opened.gpus]})
    elif only_gpus:
        click.echo(shown(gpus_table(opened.gpus)))
    else:
        click.echo(shown(models_table(chosen)))


@catalog.command("search")
@click.argument("text", nargs=-1, required=True, metavar="TEXT...")
@_filter_options
def search_command(
    text: tuple[str, ...],
    as_json: bool,
    catalog_folders: tuple[Path, ...],
    **wanted: Any,  # noqa: ANN401 - the filters
) -> None:
    """List the models, checkpoints and GPUs that have every word of TEXT.

    A word is a part of a name or id, however it is joined there, a task, a scheme, a licence or a size such as 8b;
    what nothing is called is taken for a slip, and the nearest names are listed.
    """
    opened = load_catalog(overlays=catalog_folders)
    query = read_query(" ".join(text), opened)
    chosen = sorted(_chosen(opened, query, **wanted), key=lambda one: not query.first(one[0]))
    found = query.gpus(opened.gpus)
    for typed, taken in query.slips:
        hint(f"nothing is called {typed!r}; this is for {taken!r}")
    if as_json:
        models = [model_json(opened, model, checkpoints) for model, checkpoints in chosen]
        say_json({"models": models, "gpus": [gpu_json(opened, gpu) for gpu in found]})
        return
    few, near = query.nearest(chosen, lambda one: one[0].name), query.nearest(found, lambda gpu: gpu.name)
    parts = [models_table(few)] * bool(few) + [gpus_table(near)] * bool(near)
    if left_out := len(chosen) + len(found) - len(few) - len(near):
        hint(f"these are the nearest; `planner catalog search {' '.join(query.words)}` lists {left_out} more")
    click.echo(shown("\n\n".join(parts)) if parts else f"nothing in the catalog is called {' '.join(text)!r}")


@catalog.command("show")
@click.argument("name", type=names.MODEL_OR_GPU)
@catalog_option
@json_option
def show_command(name: str, catalog_folders: tuple[Path, ...], as_json: bool) -> None:
    """Show everything known about one model, checkpoint or GPU, with its sources."""
    opened = load_catalog(overlays=catalog_folders)
    found = _model_or_gpu(opened, name)
    if isinstance(found, GPU):
        data, text = gpu_json(opened, found), gpu_text
    else:
        data = model_json(opened, found, [Checkpoint(found, variant) for variant in found.variants])
        text = model_text
    if as_json:
        say_json(data)
    else:
        click.echo(shown(text(data)))


@catalog.command("check")
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
def check_command(folders: tuple[Path, ...], as_json: bool) -> None:
    """Check the shipped catalog, your own entries, and any FOLDERS given."""
    from planner.catalog.check import check_folders  # pydantic is loaded for this command alone

    own = [user_catalog()] if user_catalog().is_dir() else []
    report = check_folders((data_folder("catalog"), *own, *folders))
    for problem in report.problems:
        click.echo(str(problem), err=True)
    if as_json:
        unsized = [{"repository": repository, "reason": reason} for repository, reason in report.unsized]
        say_json(as_dict(report) | {"unsized": unsized})
    else:
        click.echo(checked_text(report))
    if report.problems:
        raise SystemExit(EXIT_ERROR)


@catalog.command("add")
@click.argument("source")
@click.option("--revision", metavar="REV", help="Branch, tag or commit of a repository; the default branch if absent.")
@click.option("--task", "tasks", multiple=True, default=("general",), show_default=True, help="May be repeated.")
@click.option("--licence", default="unknown", show_default=True)
@click.option(
    "--into", type=click.Path(file_okay=False, path_type=Path), help="Overlay folder; your own catalog if absent."
)
@click.option("--force", is_flag=True, help="Replace an entry of the same name.")
@json_option
def add_command(
    source: str,
    revision: str | None,
    tasks: tuple[str, ...],
    licence: str,
    into: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write a catalog entry for a checkpoint folder or a Hugging Face repository.

    Only metadata is read: config.json, the shard index and the headers of the safetensors files.
    """
    from planner.cli.catalog_add import add

    folder = into or user_catalog()
    path, done = add(source, revision=revision, tasks=tasks, licence=licence, folder=folder, force=force)
    if as_json:
        say_files([(str(path), done)], written=True)
    click.echo(f"wrote {path}", err=True)
    if into is not None:
        hint(f"use it with --catalog {folder}")


def _model_or_gpu(opened: Catalog, name: str) -> Model | GPU:
    """Find a model first, then a GPU; the error names what is nearest among both."""
    try:
        return opened.find(name)[0]
    except UnknownName as not_a_model:
        try:
            return opened.gpu(name)
        except UnknownName as not_a_gpu:
            if not_a_model.gguf or not_a_model.hub:
                raise not_a_model from None
            near = (*not_a_model.nearest, *not_a_gpu.nearest)
            raise UnknownName("model or GPU", name, near[:4]) from None


def _chosen(
    opened: Catalog,
    query: Query,
    *,
    task: str | None,
    min_size: float | None,
    max_size: float | None,
    licence: str | None,
    commercial: bool,
    scheme: str | None,
    fits_on: str | None,
) -> Iterator[tuple[Model, list[Checkpoint]]]:
    """Yield the models that pass the filters, each with those of its checkpoints that do."""
    gpu = opened.gpu(fits_on) if fits_on else None
    for model in opened.models:
        if task and task not in model.tasks:
            continue
        if licence and licence.casefold() != model.licence.casefold():
            continue
        if commercial and model.non_commercial:
            continue
        if not (min_size or 0) * BILLION <= model.parameters <= (max_size or float("inf")) * BILLION:
            continue
        checkpoints = [Checkpoint(model, variant) for variant in model.variants]
        if scheme:
            checkpoints = [one for one in checkpoints if one.variant.scheme == scheme]
        if gpu:
            checkpoints = [one for one in checkpoints if one.fits(gpu)]
        if checkpoints := query.checkpoints(model, checkpoints):
            yield model, checkpoints
