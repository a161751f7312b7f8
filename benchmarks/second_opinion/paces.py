"""Paces: how fast servers are, and whether that is what a role asks for (docs/objective.md, docs/speed.md).

It asks ``planner.speed`` for the figures that ``planner estimate`` prints, and nothing of the rooms that plan.
"""

from msgspec import Struct

from benchmarks.second_opinion.board import Board, apart_only
from benchmarks.second_opinion.sizes import Made, flags_of
from planner.catalog import Catalog
from planner.engine.profile import EngineProfile
from planner.fleet import Fleet, Role
from planner.memory.terms import Server
from planner.speed.forecast import Forecast
from planner.speed.planned import planned
from planner.speed.serving import Requests
from planner.speed.site import Site

PACES = ("throughput", "latency", "cost_per_mtok")
WORST = {"throughput": 0, "latency": -3600 * 10**6, "cost_per_mtok": -(10**4) * 10**6}
"""What a server of whose speed nothing is said counts, and a role that is left out."""


class Setting(Struct, frozen=True):
    """A server that may be asked for its speed: where, what, and how it is started."""

    pool: int
    made: Made
    split: tuple[int, int]
    cache: str
    context: int
    batch: int


class Paces:
    """The speed of servers of a fleet."""

    def __init__(self, fleet: Fleet, catalog: Catalog, profile: EngineProfile, board: Board) -> None:
        """Find out by role and pool how much of the time of a GPU may be asked for."""
        self._tables, self._profile, self._fleet = catalog.speed, profile, fleet
        self._priced = board.priced
        self.counted = any(name in PACES for name in fleet.objective)
        self._known: dict[object, Forecast] = {}

    def fine(self, role: Role, setting: Setting, sequences: int, replicas: int) -> bool:
        """Whether servers with so many requests each surely are as fast as the role demands."""
        if not role.wants_speed:
            return True
        found = self._forecast(role, setting, sequences, self._busy(role, setting.pool))
        factors = self._tables.engine.percentile(role.percentile)
        if found.tpot_us is None or found.ttft_us is None or found.output_millitokens_per_second is None:
            return False
        served = found.output_millitokens_per_second.low // (role.output_tokens or 1)
        return (
            (role.tpot_us is None or found.tpot_us.high * factors.tpot <= role.tpot_us)
            and (role.ttft_us is None or found.ttft_us.high * factors.ttft <= role.ttft_us)
            and (role.rate_milli is None or served >= -(-role.rate_milli // replicas))
        )

    def worth(self, role: Role, setting: Setting, sequences: int, replicas: int) -> dict[str, int]:
        """Return what all servers of a role with so many requests each count, before the role's weight."""
        if not self.counted:
            return {}
        pool = self._fleet.pools[setting.pool]
        slow = self._forecast(role, setting, sequences, self._busy(role, setting.pool))
        alone = self._forecast(role, setting, sequences, 1000).output_millitokens_per_second
        if not (slow.tpot_us and slow.ttft_us and slow.output_millitokens_per_second and alone):
            return WORST
        whole = pool.microdollars_per_node_hour
        price = pool.microdollars_per_gpu_hour if whole is None else -(-whole // pool.gpus_per_node)
        hour = (price or 0) if self._priced else 10**6
        paid = hour * setting.split[0] * setting.split[1] * 10**6 * 1000
        per_mtok = -(-paid // (3600 * alone.low)) if alone.low else -WORST["cost_per_mtok"]
        answer = slow.ttft_us.high + ((role.output_tokens or 0) - 1) * slow.tpot_us.high
        return {
            "throughput": slow.output_millitokens_per_second.low * replicas,
            "latency": max(WORST["latency"], -answer),
            "cost_per_mtok": max(WORST["cost_per_mtok"], -per_mtok),
        }

    def left_out(self, role: Role) -> dict[str, int]:
        """Return what a role that is left out counts."""
        return {name: role.weight * value for name, value in WORST.items()}

    def _busy(self, role: Role, pool: int) -> int:
        """Return the thousandths of a GPU's time that are asked for where all are together that may be."""
        name = self._fleet.pools[pool].name
        total = 1000 + role.busy_permille * (_on_one_gpu(role) - 1)
        for other in self._fleet.roles:
            never = any(
                group.awake == 1 and {role.name, other.name} <= set(group.roles) for group in self._fleet.time_share
            )
            if other.name != role.name and role.shares_with(other) and not never:
                there = other.pools is None or name in other.pools
                total += other.busy_permille * _on_one_gpu(other) if there else 0
        return total

    def _forecast(self, role: Role, setting: Setting, sequences: int, busy: int) -> Forecast:
        cached = (role.prompt_tokens or 0) * role.cached_permille // 1000
        requests = Requests(
            input_tokens=role.prompt_tokens or 0, output_tokens=role.output_tokens or 0, cached_tokens=cached
        )
        _, architecture, quantization, gpu = setting.made
        key = setting.made[0], gpu.name, setting.split, setting.cache, setting.batch, sequences, busy, requests
        if key not in self._known:
            flags = flags_of(
                setting.made, self._profile, setting.split, setting.cache, setting.context, setting.batch, sequences
            )
            server = Server(architecture=architecture, quantization=quantization, flags=flags)
            site = Site(gpu, self._profile, self._tables.device(gpu), self._tables.engine)
            self._known[key] = planned(server, site, requests, busy)
        return self._known[key]


def _on_one_gpu(role: Role) -> int:
    return 1 if apart_only(role) else role.replicas or 1
