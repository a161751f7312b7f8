"""``planner schema``: the JSON Schema of fleet.yaml."""

import json

import click

from planner.fleet import json_schema


@click.command()
def schema() -> None:
    """Print the JSON Schema of fleet.yaml.

    With the schema beside the fleet file, editors that run yaml-language-server complete and check it:

    \b
      planner schema > fleet.schema.json
      # first line of fleet.yaml:
      # yaml-language-server: $schema=./fleet.schema.json
    """
    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
