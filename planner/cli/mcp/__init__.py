"""``planner mcp``: commands as tools of a server for the Model Context Protocol, which agents speak.

tools    which commands are tools, and the schema of what each takes
answers  what a tool gives back: the command's JSON, bounded, or its error as data
roots    which files may be read and written
child    the process that runs one command
calling  starts that process, hears how far it is, and ends it
server   the protocol on standard input and output
"""

import importlib.util
from pathlib import Path

import click

from planner.cli.shared import catalog_option
from planner.errors import PlannerError

_EPILOG = """\b
A client starts it, for example with
  {"command": "planner", "args": ["mcp", "--root", "/home/me/fleets"]}
Files are read in the folders of --root and of the client's roots alone, and written
there only with --allow-write. docs/mcp.md lists the tools.
"""


class NoServer(PlannerError):
    """The library that speaks the protocol is not installed."""

    def __str__(self) -> str:
        return "planner mcp needs an extra that is not installed\n  hint: pip install 'planner[mcp]'"


@click.command(epilog=_EPILOG)
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder whose files may be read; may be repeated.",
)
@click.option("--allow-write", is_flag=True, help="Let solve write plan.yaml and artifacts/ beside a fleet file.")
@catalog_option
def mcp(roots: tuple[Path, ...], allow_write: bool, catalog_folders: tuple[Path, ...]) -> None:
    """Serve estimate, solve, check and more as tools for agents.

    It speaks the Model Context Protocol on standard input and output until the client closes it.
    """
    if importlib.util.find_spec("mcp") is None:
        raise NoServer
    from planner.cli.mcp.server import Settings, serve

    serve(Settings(roots=roots, allow_write=allow_write, catalogs=tuple(path.resolve() for path in catalog_folders)))
