"""What a role's time goes to, and how fast one step up in GPU, in GPUs per server or in scheme would be."""

from collections.abc import Iterator

from msgspec.structs import replace

from planner.catalog import Catalog
from planner.errors import PlannerError
from planner.facts.gpu import GPU
from planner.fleet import Fleet
from planner.memory.demand import Demand, demand
from planner.memory.pins import server_refusal
from planner.memory.terms import Server
from planner.options import Prepared
from planner.options.candidates import allowed
from planner.options.served import served
from planner.options.speed import requests_of, speed_of
from planner.plan import Plan
from planner.plan.account import RoleSpeed, SpeedStep
from planner.solve.assemble import Decision
from planner.speed.forecast import rates_of
from planner.speed.parts import parts
from planner.speed.refusals import refusal

_SMALLER = 0.9
"""A scheme is a step when its weights take at most so much of the bytes."""


def role_speed(fleet: Fleet, catalog: Catalog, prepared: Prepared, decision: Decision, plan: Plan) -> RoleSpeed | None:
    """Return where the time of a role goes; None where nothing is said of its speed."""
    steps = _Steps(fleet, catalog, prepared, decision, plan)
    requests, device = requests_of(decision.role), catalog.speed.device(steps.gpu)
    if requests is None or device is None or refusal(decision.server, steps.gpu, device):
        return None
    rates = rates_of(decision.server, steps.gpu, prepared.profile, device, catalog.speed.engine)
    running = decision.sequences * rates.work.data_ranks
    found = parts(rates, requests, decision.option.max_num_batched_tokens, running)
    every = (steps.gpu_up(), steps.split_up(), steps.scheme_up())
    pool = fleet.pools[decision.option.pool].name
    return RoleSpeed(role=decision.role.name, pool=pool, parts=found, steps=tuple(step for step in every if step))


class _Steps:
    """The steps of one role, each with as many requests and as many servers on its GPUs as the plan has."""

    def __init__(self, fleet: Fleet, catalog: Catalog, prepared: Prepared, decision: Decision, plan: Plan) -> None:
        self._catalog, self._profile, self._own = catalog, prepared.profile, decision
        self._pool = fleet.pools[decision.option.pool]
        self.gpu = self._pool.gpu
        own = plan.by_pool(decision.role.name).get(self._pool.name, [])
        self._busy = max((server.speed.busy_permille for server in own if server.speed), default=1000)

    def gpu_up(self) -> SpeedStep | None:
        """Return the GPU whose bandwidth is the next larger one with which the role is faster, as others may not be."""
        own = self._step("gpu", self.gpu.name, self.gpu.name, self._own.server, self.gpu, self._pool.capacity_bytes)
        now = own.output_millitokens_per_second if own else 0
        for gpu in sorted(self._faster(), key=lambda gpu: (gpu.bandwidth_bytes_per_second or 0, gpu.name)):
            room = gpu.memory_bytes - gpu.system_memory_bytes - self._pool.memory_in_use_bytes
            step = self._step("gpu", self.gpu.name, gpu.name, self._own.server, gpu, room)
            if step and not step.reason and step.output_millitokens_per_second > now:
                return step
        return None

    def split_up(self) -> SpeedStep | None:
        """Return twice the GPUs per server, where a node has as many."""
        server = self._own.server
        size = 2 * server.flags.tensor_parallel_size
        if size not in self._pool.tensor_parallel_sizes:
            return None
        wider = replace(server, flags=replace(server.flags, tensor_parallel_size=size))
        now = str(server.flags.tensor_parallel_size)
        return self._step("tensor_parallel", now, str(size), wider, self.gpu, self._pool.capacity_bytes)

    def scheme_up(self) -> SpeedStep | None:
        """Return the checkpoint of the same model that reads the next fewer bytes, and is allowed."""
        option = self._own.option
        now = self._own.option.demand.fixed_bytes
        found: list[tuple[int, SpeedStep]] = []
        for model, variant in allowed(self._own.role):
            if model != option.model or variant.scheme == option.variant.scheme:
                continue
            try:
                architecture, quantization = served(model, variant, self._own.role.task)
                server = replace(self._own.server, architecture=architecture, quantization=quantization)
                taken = self._demand(server, self.gpu).fixed_bytes
            except PlannerError:
                continue
            if taken > now * _SMALLER:
                continue
            then = f"{variant.repository} ({variant.scheme})"
            if step := self._step("scheme", option.variant.scheme, then, server, self.gpu, self._pool.capacity_bytes):
                found.append((taken, step))
        return max(found, key=lambda item: (not item[1].reason, item[0], item[1].then))[1] if found else None

    def _faster(self) -> Iterator[GPU]:
        for gpu in self._catalog.gpus:
            alike = gpu.vendor == self.gpu.vendor and not (gpu.parent or gpu.refusal or gpu.integrated)
            if alike and (gpu.bandwidth_bytes_per_second or 0) > (self.gpu.bandwidth_bytes_per_second or 0):
                yield gpu

    def _step(self, what: str, now: str, then: str, server: Server, gpu: GPU, room_bytes: int) -> SpeedStep | None:
        """Return a step; None where the engine does not start it."""
        if server_refusal(server, self._own.role.settings, self._profile, gpu):
            return None
        nodes = self._own.option.nodes
        found = speed_of(self._own.role, server, gpu, self._profile, self._catalog.speed, self._busy, nodes)
        if found is None:
            return None
        tpot, ttft, output = found.tpot_us, found.ttft_us, found.output_millitokens_per_second
        return SpeedStep(
            what=what,
            now=now,
            then=then,
            reason=found.reason,
            tpot_us=tpot.value if tpot else 0,
            ttft_us=ttft.value if ttft else 0,
            output_millitokens_per_second=output.value if output else 0,
            fits=self._demand(server, gpu).footprint(self._own.sequences) <= room_bytes,
        )

    def _demand(self, server: Server, gpu: GPU) -> Demand:
        flags = replace(server.flags, kv_cache_memory_bytes=None)
        return demand(replace(server, flags=flags), gpu, self._profile, self._own.option.request_tokens)
