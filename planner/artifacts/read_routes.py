"""Rendered routers -> which servers answer for a model, as HAProxy or LiteLLM would read their files."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from planner.artifacts.groups import InCluster, in_cluster
from planner.artifacts.nodes import many
from planner.artifacts.quoting import slug
from planner.artifacts.serve_args import LOOPBACK
from planner.errors import InputError, Problem
from planner.plan import Plan, ServerPlan

Routes = dict[str, tuple[str, ...]]
"""Model -> ``host:port`` of every server that answers for it, sorted."""

_PROVIDER = "hosted_vllm/"
_USE = re.compile(r"^  use_backend (\S+) if \{ var\(txn\.model\) -m str -- (.+) \}$", re.M)
_BACKEND = re.compile(r"^backend (\S+)\n((?:  .*\n)*)", re.M)
_SERVER = re.compile(r"^  server \S+ (\S+:[0-9]+)(?: weight [0-9]+)?$", re.M)
_REPLICAS = re.compile(r'^  server-template \S+ ([0-9]+) "([^".]+)\.[^":]+:([0-9]+)"', re.M)
_ESCAPE = re.compile(rb"\\(x[0-9A-F]{2}|.)", re.S)


def read_routes(folder: Path) -> dict[str, Routes]:
    """Return the routes in every router configuration of a rendered folder, by the file's path in it.

    Raises:
        InputError: a file is not what was rendered.
    """
    found: dict[str, Routes] = {}
    for name, read in _READERS.items():
        path = folder / name
        if not path.exists():
            continue
        routes: dict[str, list[str]] = {}
        try:
            for model, server in read(path.read_text(encoding="utf-8")):
                routes.setdefault(model, []).append(server)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
            message = f"cannot be read back: {error}"
            raise InputError((Problem(str(path), 0, 0, "", message, "render it again"),)) from error
        found[name] = {model: tuple(sorted(servers)) for model, servers in routes.items()}
    return found


def wrong_routes(plan: Plan, folder: Path) -> dict[str, list[str]]:
    """Return a sentence for each model that a router does not send to its servers of the plan, by the router's file.

    A file without a mistake has an empty list. Servers that answer on another machine are not the router's here.

    Raises:
        InputError: a file is not what was rendered.
    """
    here = {gpu.node for gpu in plan.gpus}
    answering = [server for server in plan.servers if here & set(server.answering_nodes)]
    return {
        path: list(_mistakes(_planned(plan, answering, path), routes))
        for path, routes in read_routes(folder).items()
        if path.startswith("kubernetes/") or not many(plan)  # before several machines, a router knows only machines
    }


def _planned(plan: Plan, servers: list[ServerPlan], path: str) -> Routes:
    cluster = in_cluster(plan) if path.startswith("kubernetes/") else None
    routes: dict[str, list[str]] = {}
    for server in servers:
        for name in (*server.names, *server.settings.adapter_names):
            routes.setdefault(name, []).extend(_hosts(cluster, server, path))
    return {model: tuple(sorted(hosts)) for model, hosts in routes.items()}


def _hosts(cluster: InCluster | None, server: ServerPlan, path: str) -> list[str]:
    """Return where a server answers, with its port, for the router that the file configures."""
    if cluster is None:
        return [f"{slug(server.name) if 'compose' in path else LOOPBACK}:{server.port}"]
    if len(server.nodes) == 1:
        slot = cluster.slots[slug(server.name)]
        return [f"{slot.service}:{slot.port}"]
    group = cluster.sets[slug(server.name)]
    return [f"{api.service}:{group.port}" for api in group.apis]


def _mistakes(planned: Routes, found: Routes) -> Iterator[str]:
    for model in sorted(planned.keys() | found.keys()):
        wanted, there = (", ".join(routes.get(model, ())) or "nobody" for routes in (planned, found))
        if wanted != there:
            yield f"{model} is answered by {there}, planned {wanted}"


def _haproxy(text: str) -> Iterator[tuple[str, str]]:
    """Read which backend a model uses, and the servers of the backend."""
    backends = {match[1]: [*_SERVER.findall(match[2]), *_replicas(match[2])] for match in _BACKEND.finditer(text)}
    for backend, model in _USE.findall(text):
        for server in backends[backend]:
            yield _unquoted(model), server


def _replicas(backend: str) -> Iterator[str]:
    """Read the servers that are found by one name in the cluster's DNS."""
    for count, host, port in _REPLICAS.findall(backend):
        yield from [f"{host}:{port}"] * int(count)


def _litellm(text: str) -> Iterator[tuple[str, str]]:
    """Read the deployments of each model; one that asks its server for another model is an error."""
    for deployment in yaml.safe_load(text)["model_list"]:
        model, asked = deployment["model_name"], deployment["litellm_params"]["model"]
        if asked != _PROVIDER + model:
            raise ValueError(f"{model} asks for {asked}, not {_PROVIDER}{model}")
        yield model, urlsplit(deployment["litellm_params"]["api_base"]).netloc


def _unquoted(word: str) -> str:
    """Undo the quotes and escapes of an argument (HAProxy's configuration manual, section 2.2)."""
    if not word.startswith('"'):
        return word
    return _ESCAPE.sub(_unescaped, word[1:-1].encode()).decode()


def _unescaped(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1][1:], 16)]) if len(match[1]) == 3 else match[1]


_READERS: dict[str, Callable[[str], Iterator[tuple[str, str]]]] = {
    "router/haproxy.cfg": _haproxy,
    "router/compose.cfg": _haproxy,
    "kubernetes/fleet/haproxy.cfg": _haproxy,
    "litellm/config.yaml": _litellm,
    "litellm/config-compose.yaml": _litellm,
}
