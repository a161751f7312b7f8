"""What editors read: the published schema of fleet.yaml, the entry for the store, the first line of the examples."""

import json
from fnmatch import fnmatch
from pathlib import Path

import jsonschema
import pytest
import yaml
from commands import run

from planner.fleet import json_schema
from planner.version import VERSION

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = ROOT / "docs" / "schemas"
PUBLISHED = json.loads((SCHEMAS / "fleet.schema.json").read_text(encoding="utf-8"))
FLEETS = sorted(ROOT.glob("examples/*/fleet.yaml"))


def test_the_published_schema_is_what_planner_schema_prints() -> None:
    assert (SCHEMAS / "fleet.schema.json").read_text(encoding="utf-8") == run("schema")[1]
    assert json_schema() == PUBLISHED


@pytest.mark.parametrize("path", FLEETS, ids=lambda path: path.parent.name)
def test_an_example_names_the_schema_and_fits_it_under_draft_7_too(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    first, _, named = text.partition("\n")[0].partition("=")

    assert first == "# yaml-language-server: $schema"
    assert (path.parent / named).resolve() == SCHEMAS / "fleet.schema.json"
    jsonschema.Draft7Validator(PUBLISHED).validate(yaml.safe_load(text))


def test_an_older_editor_reads_every_keyword_of_the_schema() -> None:
    jsonschema.Draft7Validator.check_schema(PUBLISHED)
    newer = {"unevaluatedProperties", "unevaluatedItems", "dependentRequired", "dependentSchemas", "prefixItems",
             "minContains", "maxContains", "$dynamicRef", "$anchor"}  # fmt: skip

    def keys(node: object) -> set[str]:
        if isinstance(node, list):
            return set().union(*map(keys, node))
        return set(node).union(*map(keys, node.values())) if isinstance(node, dict) else set()

    assert not newer & keys(PUBLISHED)


def test_the_entry_for_the_store_names_this_schema_and_no_other_file() -> None:
    entry = json.loads((SCHEMAS / "schemastore.json").read_text(encoding="utf-8"))

    assert set(entry) == {"name", "description", "fileMatch", "url"}
    assert entry["url"].endswith(f"/v{VERSION}/docs/schemas/fleet.schema.json")
    assert fnmatch("lab.planner.yaml", entry["fileMatch"][0])
    assert not any(fnmatch("fleet.yaml", pattern) for pattern in entry["fileMatch"])
