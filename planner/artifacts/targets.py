"""Which files each target consists of: output path, template, and the server a file belongs to, if it is one's own."""

from collections.abc import Callable, Collection, Iterator

from planner.artifacts.context import Context
from planner.artifacts.kserve import KSERVE, kserve_mistakes
from planner.artifacts.processes import Server
from planner.artifacts.ray import RAY, ray_mistakes
from planner.errors import InputError, Problem

KUBERNETES, HELM = "kubernetes", "helm-values"
"""Targets."""

Entry = tuple[str, str, Server | None]


def entries(context: Context, targets: Collection[str]) -> Iterator[Entry]:
    """Yield what every target needs, then what the given targets consist of.

    Raises:
        InputError: a target cannot do what the plan asks for.
    """
    yield from _common(context)
    yield from _chosen(context, targets)


def cluster_entries(context: Context, targets: Collection[str]) -> Iterator[Entry]:
    """Yield what stands before several machines, then what the given targets consist of.

    Raises:
        InputError: a target cannot do what the plan asks for.
    """
    yield ".env.example", "nodes/env.example.j2", None
    yield ".gitignore", "common/gitignore", None
    yield "README.md", "nodes/README.md.j2", None
    yield "router/haproxy.cfg", "nodes/haproxy.cfg.j2", None
    yield "router/models.json", "router/models.json.j2", None
    yield from _answers("router")
    for name in ("prometheus.yml", "alerts.yml"):
        yield f"monitoring/{name}", f"nodes/{name}.j2", None
    yield from _chosen(context, targets)


def _chosen(context: Context, targets: Collection[str]) -> Iterator[Entry]:
    refused = [name for name in targets if context.turns and name not in TURNING_TARGETS]
    if refused:
        hint = f"{', '.join(TURNING_TARGETS)} and llama-swap give roles their turns"
        raise InputError(tuple(Problem(name, 0, 0, "", "it has no way to take turns", hint) for name in refused))
    for name, target in _TARGETS.items():
        if name in targets:
            yield from target(context)


def _common(context: Context) -> Iterator[Entry]:
    yield ".env.example", "common/env.example.j2", None
    yield ".gitignore", "common/gitignore", None
    yield "README.md", "common/README.md.j2", None
    yield "gate.sh", "common/gate.sh.j2", None
    for gpu in context.gpus:
        yield f"locks/gpu-{gpu.index}", "common/lock", None
    yield "download.sh", "script/download.sh.j2", None
    if not context.servers:
        return  # a machine with parts of servers only, which answer nothing
    for name in ("load.sh", "smoke.sh"):
        yield name, f"script/{name}.j2", None
    if context.turns:
        yield "turns.sh", "turns/turns.sh.j2", None
        yield "llama-swap/config.yaml", "llama-swap/config.yaml.j2", None
        yield "llama-swap/run.sh", "llama-swap/run.sh.j2", None
        if any(server.turn.startswith("sleep") for server in context.servers):
            yield "llama-swap/sleeper.sh", "llama-swap/sleeper.sh.j2", None
    for name in ("haproxy.cfg", "compose.cfg", "models.json"):
        yield f"router/{name}", f"router/{name}.j2", None
    yield from _answers("router")


def _answers(folder: str) -> Iterator[Entry]:
    """Yield what a router beside this folder needs to answer itself, and to know whom to ask."""
    yield f"{folder}/model.lua", "router/model.lua", None
    for name in ("401", "413", "429", "502", "503", "model", "path"):
        yield f"{folder}/errors/{name}.json", f"router/errors/{name}.json", None


def _script(context: Context) -> Iterator[Entry]:
    yield "launch.sh", "script/launch.sh.j2", None


def _compose(context: Context) -> Iterator[Entry]:
    yield "compose.yaml", "compose/compose.yaml.j2", None


def _systemd(context: Context) -> Iterator[Entry]:
    unit = f"systemd/{context.unit_prefix}"
    yield "systemd/install.sh", "systemd/install.sh.j2", None
    yield "systemd/env", "systemd/env", None
    yield f"{unit}.target", "systemd/fleet.target.j2", None
    if context.servers:
        yield f"{unit}--{context.router.name}.service", "systemd/router.service.j2", None
    for server in context.processes:
        yield f"{unit}--{server.name}.service", "systemd/server.service.j2", server


def _monitoring(context: Context) -> Iterator[Entry]:
    for name in ("prometheus.yml", "alerts.yml", "alerts_test.yml", "dashboard.json") if context.servers else ():
        yield f"monitoring/{name}", f"monitoring/{name}.j2", None


def _quadlet(context: Context) -> Iterator[Entry]:
    unit = f"quadlet/{context.unit_prefix}"
    yield "quadlet/install-quadlet.sh", "quadlet/install-quadlet.sh.j2", None
    yield f"{unit}.target", "systemd/fleet.target.j2", None
    # A name that no server's unit can have: those hold "--".
    yield f"{unit}_net.network", "quadlet/fleet.network.j2", None
    yield f"{unit}_cache.volume", "quadlet/cache.volume.j2", None
    if context.servers:
        yield f"{unit}--{context.router.name}.container", "quadlet/router.container.j2", None
    for server in context.processes:
        yield f"{unit}--{server.name}.container", "quadlet/server.container.j2", server


def _kubernetes(context: Context) -> Iterator[Entry]:
    groups = [server for server in context.servers if server.node_count > 1]
    shared = [server for server in groups if _neighbours(context, server)]
    if shared:
        raise InputError(tuple(_shares(server) for server in shared))
    yield "kubernetes/weights.yaml", "kubernetes/weights.yaml.j2", None
    for name in ("kustomization.yaml", "job.yaml"):
        yield f"kubernetes/download/{name}", f"kubernetes/download/{name}.j2", None
    files = ["kustomization.yaml", "network-policy.yaml", "router.yaml", "haproxy.cfg"]
    files += ["servers.yaml"] if context.pods else []
    files += ["disruption.yaml"] if context.several_pods else []
    files += ["groups.yaml"] if groups else []
    together = not context.cluster.dra and any(len(pod.servers) > 1 for pod in context.pods)
    if not context.cluster.dra and any(server.mixed_resource for server in context.servers):
        yield "kubernetes/mig-mixed/kustomization.yaml", "kubernetes/mig-mixed/kustomization.yaml.j2", None
    for name in files:
        yield f"kubernetes/fleet/{name}", f"kubernetes/fleet/{name}.j2", None
    extras = {
        "monitoring": ("monitors.yaml", "rules.yaml", "network-policy.yaml"),
        "gateway": ("route.yaml", "network-policy.yaml"),
        "pools": ("pools.yaml", "network-policy.yaml") if context.inference_pools else (),
        "autoscale": ("scaled.yaml",) if context.scaled else (),
    }
    for folder, names in extras.items():
        for name in ("kustomization.yaml", *names) if names else ():
            yield f"kubernetes/{folder}/{name}", f"kubernetes/{folder}/{name}.j2", None
    # Kustomize reads no file outside its own folder, so these are here a second time.
    yield "kubernetes/download/download.sh", "script/download.sh.j2", None
    yield "kubernetes/load.sh", "script/load.sh.j2", None
    yield "kubernetes/fleet/gate.sh", "common/gate.sh.j2", None
    if together:
        yield "kubernetes/fleet/together.sh", "kubernetes/fleet/together.sh", None
    yield "kubernetes/fleet/models.json", "router/models.json.j2", None
    yield from _answers("kubernetes/fleet")


def _shares(server: Server) -> Problem:
    """Say why the pods of a server on several machines cannot be, and the two ways out."""
    return Problem(
        KUBERNETES, 0, 0, "",
        f"{server.name} runs on several machines and shares a GPU there, but the pods of a group have GPUs of their "
        "own",
        f"set roles.{server.role}.exclusive to true and solve again, or render a folder for each machine instead: "
        "script, compose, systemd or quadlet",
    )  # fmt: skip


def _neighbours(context: Context, server: Server) -> bool:
    """Say whether another server is on a GPU of one of a server's parts."""
    places = {(one.node, index) for one in context.processes if one.name == server.name for index in one.gpu_indices}
    others = {(one.node, index) for one in context.processes if one.name != server.name for index in one.gpu_indices}
    return bool(places & others)


def _helm_values(context: Context) -> Iterator[Entry]:
    hint = "use --target kubernetes, which starts them one after another and mounts the folders"
    mistakes = [
        f"{' and '.join(pod.servers)} share a GPU, but the production stack gives every engine GPUs of its own"
        for pod in context.pods
        if len(pod.servers) > 1
    ]
    mistakes += [
        f"{server.name} reads its weights from the folder {server.model}, which the production stack cannot mount"
        for server in context.servers
        if server.local
    ]
    mistakes += [
        f"{server.name} runs on several machines, but the production stack gives every engine one pod"
        for server in context.servers
        if server.node_count > 1
    ]
    if mistakes:
        raise InputError(tuple(Problem(HELM, 0, 0, "", mistake, hint) for mistake in mistakes))
    yield f"{HELM}/values.yaml", f"{HELM}/values.yaml.j2", None


def _litellm(context: Context) -> Iterator[Entry]:
    for name in ("litellm.cfg", "litellm-compose.cfg"):
        yield f"router/{name}", f"router/{name}.j2", None
    for name in ("config.yaml", "config-compose.yaml", "compose.yaml", "run.sh"):
        yield f"litellm/{name}", f"litellm/{name}.j2", None


def _shared(context: Context) -> list[tuple[str, ...]]:
    """Return the servers that share GPUs with each other."""
    shared = [pod.servers for pod in context.pods if len(pod.servers) > 1]
    groups = [server for server in context.servers if server.node_count > 1 and _neighbours(context, server)]
    return shared + [(group.name, "others") for group in groups]


def _kserve(context: Context) -> Iterator[Entry]:
    mistakes = list(kserve_mistakes(context.servers, _shared(context), context.engine_version))
    if mistakes:
        hint = "use --target kubernetes, which starts servers as the engine itself does"
        raise InputError(tuple(Problem(KSERVE, 0, 0, "", mistake, hint) for mistake in mistakes))
    yield f"{KSERVE}/services.yaml", f"{KSERVE}/services.yaml.j2", None


def _ray_serve(context: Context) -> Iterator[Entry]:
    mistakes = list(ray_mistakes(context.servers, _shared(context), context.engine_version))
    if mistakes:
        hint = "use script, compose, systemd or kubernetes, which start servers as the engine itself does"
        raise InputError(tuple(Problem(RAY, 0, 0, "", mistake, hint) for mistake in mistakes))
    for name in ("serve.yaml", "start.sh", "rayservice.yaml", "Dockerfile"):
        yield f"{RAY}/{name}", f"{RAY}/{name}.j2", None


_TARGETS: dict[str, Callable[[Context], Iterator[Entry]]] = {
    "script": _script,
    "compose": _compose,
    "systemd": _systemd,
    "monitoring": _monitoring,
    "quadlet": _quadlet,
    KUBERNETES: _kubernetes,
    HELM: _helm_values,
    "litellm": _litellm,
    RAY: _ray_serve,
    KSERVE: _kserve,
}
DEFAULT_TARGETS = ("script", "compose", "systemd", "monitoring")
"""Rendered for every plan: what runs and watches it on the machine it is for."""
TURNING_TARGETS = DEFAULT_TARGETS
"""Those that can start some servers and leave others for their turn."""
CLUSTER_TARGETS = (KUBERNETES, HELM, RAY, KSERVE)
"""Rendered once for all machines, because something else places the servers."""
EXTRA_TARGETS = tuple(name for name in _TARGETS if name not in DEFAULT_TARGETS)
"""Rendered on request."""
