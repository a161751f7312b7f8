"""Schemas of the objects beside Kubernetes' own: those rebuilt in tests/data, and real definitions where they are.

PLANNER_CRDS names a folder with CustomResourceDefinitions as they are applied to a cluster; every object of a kind that
is defined there is then held against the real definition too. PLANNER_CHARTS names one with the schemas of values.
"""

import functools
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import parsed
import yaml

_DATA = Path(__file__).resolve().parent / "data"


@functools.cache
def rebuilt() -> dict[str, dict[str, Any]]:
    """The rebuilt schemas by kind."""
    found: dict[str, dict[str, Any]] = parsed.one((_DATA / "cluster-objects.schema.yaml").read_text(encoding="utf-8"))
    group = parsed.one((_DATA / "leaderworkerset-v1.schema.yaml").read_text(encoding="utf-8"))
    service = parsed.one((_DATA / "rayservice-v1.schema.yaml").read_text(encoding="utf-8"))
    llm = parsed.one((_DATA / "llminferenceservice-v1alpha2.schema.yaml").read_text(encoding="utf-8"))
    return {**found, "LeaderWorkerSet": group, "RayService": service, "LLMInferenceService": llm}


@functools.cache
def real() -> dict[tuple[str, str], dict[str, Any]]:
    """The schemas of real definitions, by API version and kind; nothing where there are none."""
    folder = os.environ.get("PLANNER_CRDS")
    found = {}
    for path in sorted(Path(folder).glob("*.yaml")) if folder else ():
        for crd in yaml.load_all(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            for version in crd["spec"]["versions"]:
                name = f"{crd['spec']['group']}/{version['name']}"
                found[name, crd["spec"]["names"]["kind"]] = _strict(version["schema"]["openAPIV3Schema"])
    return found


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Refuse fields that a definition does not have, as a strict API server does."""
    read = {key: value for key, value in schema.items() if not key.startswith("x-")}
    if "properties" in read:
        read["properties"] = {key: _strict(value) for key, value in read["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "apiVersion" not in read["properties"]:
            read["additionalProperties"] = False
    if isinstance(read.get("items"), dict):
        read["items"] = _strict(read["items"])
    if schema.get("x-kubernetes-int-or-string"):
        read = {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    return read


def validate_values(values: dict[str, Any]) -> None:
    """Hold values against what the chart says of them, and against its real schema where PLANNER_CHARTS has it."""
    rebuilt_values = parsed.one((_DATA / "vllm-stack-values.schema.yaml").read_text(encoding="utf-8"))
    jsonschema.validate(values, rebuilt_values)
    if folder := os.environ.get("PLANNER_CHARTS"):
        path = Path(folder) / "vllm-stack-values.schema.json"
        jsonschema.validate(values, json.loads(path.read_text(encoding="utf-8")))


def validate(document: dict[str, Any]) -> None:
    """Hold an object against its schema: rebuilt, real where there is one, or Kubernetes' own."""
    kind = document["kind"]
    if kind in rebuilt():
        jsonschema.validate(document, rebuilt()[kind])
        definition = real().get((document["apiVersion"], kind))
        if definition:
            jsonschema.validate(document, definition)
    else:
        kubernetes_validate.validate(document, "1.34", strict=True)
