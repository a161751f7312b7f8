"""What an engine refuses of the pins of a role, beyond what the flags of a server say by themselves."""

from collections.abc import Iterator

from planner.engine.flags import ServeFlags
from planner.engine.options import engine_options
from planner.engine.profile import EngineProfile
from planner.engine.rules import Refusal, refused
from planner.engine.settings import EngineSettings, unknown_option
from planner.engine.versions import parse_version
from planner.facts.gpu import GPU
from planner.memory.refusals import refusal
from planner.memory.terms import Server

# The oldest version whose ``CPUOffloadingSpec`` is known to take bytes (v1/kv_offload/cpu/spec.py): in 0.13.0 it asked
# for blocks, which the option did not give.
_HOST_CACHE = "0.17.0"
# v1/kv_offload connectors keep groups of layers apart (``SupportsHMA``), and config/vllm.py asks them whether they do.
_HOST_CACHE_GROUPS = "0.22.0"
# ``device_loading_context`` in model_loader/utils.py: parameters that a quantization method replaces go back to the
# host from here on (0.17.0); in 0.13.0 they stayed on the GPU.
_REPACKED = "0.17.0"
# ``may_reinitialize_input_batch`` in v1/worker/gpu_model_runner.py no longer asserts that nothing is in host memory.
_OFFLOADED_GROUPS = "0.20.0"


def server_refusal(server: Server, settings: EngineSettings, profile: EngineProfile, gpu: GPU) -> Refusal | None:
    """Return the first reason for which this engine version would not start a server as a role pins it, or None."""
    found = refusal(server.architecture, server.quantization, server.flags, profile, gpu)
    if found or not settings:
        return found
    return next(_reasons(server, settings, profile), None)


def _reasons(server: Server, settings: EngineSettings, profile: EngineProfile) -> Iterator[Refusal]:
    version, name = parse_version(profile.version), str(profile)
    if account := unknown_option(settings, engine_options(profile.version)):
        yield refused("pinned-option", account=account)
    if settings.images and settings.images.per_request and server.architecture.vision is None:
        yield refused("no-images", architecture=server.architecture.name)
    apart = _kinds(server) > 1
    if settings.cpu_offload_bytes:
        if server.quantized and version < parse_version(_REPACKED):
            yield refused("offload-repacked", engine=name, first=_REPACKED)
        if apart and version < parse_version(_OFFLOADED_GROUPS):
            yield refused("offload-groups", engine=name, first=_OFFLOADED_GROUPS)
    if settings.kv_offload_bytes:
        if version < parse_version(_HOST_CACHE):
            yield refused("host-cache", engine=name, first=_HOST_CACHE)
        if apart and version < parse_version(_HOST_CACHE_GROUPS):
            yield refused("host-cache-groups", engine=name, first=_HOST_CACHE_GROUPS)
        if not any(layer.attention and layer.attention.cached for layer in server.architecture.layers):
            yield refused("host-cache-nothing", architecture=server.architecture.name)
    yield from _capture(server.flags, settings)


def _capture(flags: ServeFlags, settings: EngineSettings) -> Iterator[Refusal]:
    """A list of sizes of which none fits a batch leaves nothing to capture."""
    if settings.capture_sizes and not settings.eager and min(settings.capture_sizes) > flags.max_num_batched_tokens:
        yield refused("capture-sizes", batch=flags.max_num_batched_tokens, least=min(settings.capture_sizes))


def _kinds(server: Server) -> int:
    """Count the ways in which layers keep what they cache: whole, by windows of each length, as states."""
    kinds = set()
    for layer in server.architecture.layers:
        if layer.attention and layer.attention.cached:
            kinds.add((layer.attention.window, layer.attention.chunk))
        if layer.state:
            kinds.add((0, 0))
    return len(kinds)
