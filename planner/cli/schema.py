"""``planner schema``: the JSON Schema of fleet.yaml."""

import json

import click

from planner.cli.json_text import OPTION
from planner.fleet import json_schema

_EPILOG = """\b
With the schema beside the fleet file, editors that run yaml-language-server
complete and check it:
  planner schema > fleet.schema.json
and as the first line of fleet.yaml:
  # yaml-language-server: $schema=./fleet.schema.json
"""


@click.command(epilog=_EPILOG)
@click.option(OPTION, is_flag=True, expose_value=False, help="The same: it is JSON anyway.")
def schema() -> None:
    """Print the JSON Schema of fleet.yaml for editors."""
    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
