"""Cli: a command line in; text and an exit code out. The only room that prints or exits.

Each command lives in a module of this room that is imported when the command is used, so that ``planner --help`` and
``planner estimate`` never wait for the solver. docs/exit-codes.md explains what the process returns.
"""

import atexit
import errno
import gc
import importlib
import os
from typing import TYPE_CHECKING

import click

from planner.cli.colour import shown
from planner.cli.exit_codes import EXIT_ERROR, EXIT_INTERRUPTED
from planner.cli.json_text import remember, say_error
from planner.cli.terminal import talk_options
from planner.errors import InputError, PlannerError
from planner.version import VERSION

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "calibrate": "Learn from logs of start-ups and load tests on your own machine.",
    "catalog": "List, show, search, add and check models, checkpoints and GPUs.",
    "check": "Read files that start vLLM, and say which servers start.",
    "diagnose": "Say what happened to the servers of a vLLM log, and why.",
    "diff": "Say what differs between two plan files.",
    "estimate": "Say what vLLM will log for one server, and whether it starts.",
    "explain": "Explain the plan of a fleet, or of one role.",
    "init": "Write a commented starter fleet.yaml.",
    "mcp": "Serve estimate, solve, check and more as tools for agents.",
    "observe": "Propose what a fleet should ask for, from what was asked.",
    "pareto": "List the plans of which none is better in both of two things.",
    "render": "Render the files of a plan again, without solving.",
    "report": "Show a plan as one HTML page.",
    "schema": "Print the JSON Schema of fleet.yaml for editors.",
    "solve": "Find the proven best plan for a fleet and render its files.",
    "verify": "Check that the rendered files start the plan, and that it fits.",
    "what-if": "Solve variations of a fleet side by side and compare them.",
}
"""Name -> the line ``planner --help`` shows. A command is the function of its name in the module of its name;
both have _ where the name has -."""


_RARELY = (1_000_000, 50, 100)
"""How many objects are made before those that refer to each other are looked for, against 700 as Python has it: a
command makes millions of facts that do not, and looking took an eighth of its time."""

atexit.register(gc.freeze)
# Nor are they looked for when a command has ended and Python tidies up, which took another tenth.

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# The search counts with numpy, which would start a thread for each processor to multiply matrices, and there are none.

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
# What a fleet says depends on no plugin of pydantic, and to look for them opens every installed package.


class Commands(click.Group):
    """Commands that are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None when there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command = getattr(importlib.import_module(f"planner.cli.{name}"), name)
        assert isinstance(command, click.Command)
        return _talking(command)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Return commands and options of the program, without importing any command."""
        from click.shell_completion import CompletionItem  # only a shell asks

        named = [CompletionItem(name, help=line) for name, line in sorted(COMMANDS.items())]
        options = super(click.Group, self).shell_complete(ctx, incomplete)
        return [*(item for item in named if item.value.startswith(incomplete)), *options]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the command line as it was typed, for errors."""
        remember(ctx, args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; an error made on purpose becomes text on stderr and an exit code, never a traceback."""
        gc.set_threshold(*_RARELY)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(EXIT_INTERRUPTED)
        except PlannerError as error:
            say_error(ctx, error)
            click.echo(shown(message(error)), err=True)
            ctx.exit(EXIT_ERROR)
        except click.ClickException as error:  # click prints its text and knows its exit code
            say_error(ctx, error)
            raise
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of a pipe has enough; click ends quietly
                raise
            say_error(ctx, error)
            click.echo(shown(f"error: {str(error.strerror or error).lower()}"), err=True)
            ctx.exit(EXIT_ERROR)


def _talking(command: click.Command) -> click.Command:
    """Give a command, and those of a group, the options of the program, so that they may stand behind its name."""
    if not any(option.name == "quiet" for option in command.params):
        if isinstance(command, click.Group):
            for own in command.commands.values():
                _talking(own)
        else:
            talk_options(command)
    return command


def message(error: PlannerError) -> str:
    """Return what stderr shows for an error: problems carry their own place, all others a prefix."""
    return str(error) if isinstance(error, InputError) else f"error: {error}"


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, "-V", "--version", prog_name="planner", message="%(prog)s %(version)s")
@talk_options
def main() -> None:
    """Plan which models your GPUs can serve, prove that no plan is better, and render what starts them."""
