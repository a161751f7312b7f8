"""docs/commands.md: every command with every option, as ``--help`` says them."""

from collections.abc import Iterator
from pathlib import Path

import click

from planner.cli import main
from planner.cli.terminal import talk_options

PAGE = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
HEAD = """# Commands

Generated: `pytest tests/test_commands_page.py --update-golden` renews this page. What all commands share, `-q`, `-v`
and `--color`, is on the page about [the terminal](terminal.md); what stands for standard input, and how shells complete
names, on that about [the command line](command-line.md).
"""


@talk_options
@click.command()
def shared() -> None: ...


SHARED = {option.name for option in shared.params}


def every(command: click.Command, above: click.Context | None, name: str) -> Iterator[click.Context]:
    """The contexts of a command and of those in it, in the order of their names."""
    context = click.Context(command, parent=above, info_name=name)
    yield context
    if isinstance(command, click.Group):
        for one in command.list_commands(context):
            inner = command.get_command(context, one)
            assert inner is not None
            yield from every(inner, context, one)


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def part(context: click.Context) -> str:
    """The heading of a command, how it is called, what it does, and a table of its options."""
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    text = f"\n## {context.command_path}\n\n```\n{usage}\n```\n\n{prose(command.help or '')}\n"
    records = [
        record
        for option in command.get_params(context)
        if isinstance(option, click.Option)
        and option.name not in SHARED
        and "--help" not in option.opts
        and (record := option.get_help_record(context)) is not None
    ]
    if records:
        rows = "".join(f"| `{cell(names)}` | {cell(what)} |\n" for names, what in records)
        text += f"\n| option | what it does |\n| --- | --- |\n{rows}"
    return text


def prose(text: str) -> str:
    r"""A help text without what click reads in it: ``\b`` keeps the lines of a paragraph."""
    paragraphs = [one.strip("\n") for one in text.split("\n\n")]
    kept = [f"```\n{one[2:]}\n```" if one.startswith("\b\n") else " ".join(one.split()) for one in paragraphs]
    return "\n\n".join(kept)


def test_the_page_has_every_command_and_option(update_golden: bool) -> None:
    page = HEAD + "".join(part(context) for context in every(main, None, "planner"))
    if update_golden:
        PAGE.write_text(page, encoding="utf-8")

    assert PAGE.read_text(encoding="utf-8") == page
    assert "## planner catalog search\n" in page
    assert "| `--dry-run` |" in page
