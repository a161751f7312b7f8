"""Paces: how fast the servers of an option are and what their answers cost, as the objective counts them.

Counted at the slow end of the range, with exactly the option's requests running: neither figure is a straight line in
the number of requests, so options of a role whose speed counts have one number of requests each.
"""

import functools
from collections.abc import Collection, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from planner.catalog.speed_tables import SpeedTables
from planner.engine.flags import ServeFlags
from planner.fleet import Role
from planner.memory.terms import Server
from planner.options.demands import same_memory
from planner.options.option import Option
from planner.options.place import Place
from planner.options.prune import spans
from planner.options.replicas import Load
from planner.options.speed import speed_of
from planner.options.worth import COST_PER_MTOK, LATENCY, NO_PACE, TPOT, Pace, counts_speed
from planner.speed.planned import ALONE, shared
from planner.units import ceil_div

LEFT_OUT = {LATENCY: 3_600_000_000, TPOT: 3_600_000_000, COST_PER_MTOK: 10_000_000_000}
"""What a stage of which less is better counts for an optional role that is not served, and for servers of whose speed
nothing is said: an hour, or ten thousand dollars. Nothing counts more."""

_GPU_HOUR = 1_000_000
_MILLION = 1_000_000


class Pacing(Struct, frozen=True):
    """What the paces of options are counted with; ``priced`` says that money is dollars, not hours of GPUs.

    Without ``counted`` options have the numbers of sequences of such an objective, and no pace.
    """

    tables: SpeedTables
    priced: bool
    counted: bool = True

    @classmethod
    def of(cls, objective: Collection[str], tables: SpeedTables, *, priced: bool) -> "Pacing | None":
        """Return what counts the speed of options where an objective does."""
        return cls(tables, priced) if counts_speed(objective) else None

    def pace(self, role: Role, server: Server, place: Place, replicas: int, batch: int) -> Pace:
        """Return the pace of so many equal servers, each with ``max_num_seqs`` requests running.

        Time is that of a server whose GPUs all roles want at once that may be there; money is for the time that a
        server alone takes, for those who share a GPU share its price. With fewer tokens than the engine's own ``batch``
        nothing counts as better than with that.
        """
        if not (self.counted and role.output_tokens):
            return NO_PACE
        own = decisive(server.flags, role)
        whole = decisive(replace(own, max_num_batched_tokens=max(batch, own.max_num_batched_tokens)), role)
        return worst_of([self._pace(role, replace(server, flags=each), place, replicas) for each in {own, whole}])

    def _pace(self, role: Role, server: Server, place: Place, replicas: int) -> Pace:
        assert role.output_tokens
        flags = server.flags
        nodes = place.nodes.server_nodes(
            flags.tensor_parallel_size, flags.pipeline_parallel_size, flags.data_parallel_size
        )
        alone = speed_of(role, server, place.gpu, place.profile, self.tables, ALONE, nodes)
        slow = shared(alone, place.busy_permille(role.name)) if alone else None
        if not (slow and slow.tpot_us and slow.ttft_us and slow.output_millitokens_per_second):
            return Pace(latency=-LEFT_OUT[LATENCY], tpot=-LEFT_OUT[TPOT], cost_per_mtok=-LEFT_OUT[COST_PER_MTOK])
        assert alone and alone.output_millitokens_per_second
        request_us = slow.ttft_us.high + (role.output_tokens - 1) * slow.tpot_us.high
        price = (place.nodes.microdollars_of_a_gpu or 0) if self.priced else _GPU_HOUR
        cost = price_per_mtok(price * server.flags.ranks, alone.output_millitokens_per_second.low)
        return Pace(
            throughput=slow.output_millitokens_per_second.low * replicas,
            latency=-min(LEFT_OUT[LATENCY], request_us),
            tpot=-min(LEFT_OUT[TPOT], slow.tpot_us.high),
            cost_per_mtok=-min(LEFT_OUT[COST_PER_MTOK], cost),
        )


def price_per_mtok(microdollars_per_hour: int, millitokens_per_second: int) -> int:
    """Return the millionths of a dollar that a million tokens cost, rounded up."""
    if not millitokens_per_second:
        return LEFT_OUT[COST_PER_MTOK]
    return ceil_div(microdollars_per_hour * _MILLION * 1000, 3600 * millitokens_per_second)


def settled(loads: Sequence[Load]) -> Iterator[Load]:
    """Yield loads with one number of sequences each: all small numbers, and larger ones in steps of a quarter."""
    for load in loads:
        for count in ends(load):
            served = load.served_base + load.served * count
            yield replace(load, least=count, most=count, served_base=served, served=0)


def ends(load: Load) -> tuple[int, ...]:
    """Return the numbers of sequences that a load is settled with."""
    return _ends(load.least, load.most)


@functools.cache
def _ends(least: int, most: int) -> tuple[int, ...]:
    return tuple(sorted({end for span in spans(least, most) for end in span}))


def whole_prompts(role: Role, sequences: int) -> int:
    """Return the tokens of a batch with a whole prompt, without what is cached of it, and one of each sequence."""
    prompt = role.prompt_tokens or 0
    return prompt - prompt * role.cached_permille // 1000 + sequences


def decisive(flags: ServeFlags, role: Role) -> ServeFlags:
    """Return flags as far as they decide about a pace: not the context, nor how much larger than a prompt a batch is.

    A prompt that a batch takes whole is computed in one step (``planner.speed.serving``).
    """
    batch = min(flags.max_num_batched_tokens, whole_prompts(role, flags.max_num_seqs * flags.data_parallel_size))
    return replace(flags, max_model_len=role.context_min, max_num_batched_tokens=batch)


def as_fast_and_small(larger: Option, option: Option) -> bool:
    """Whether the larger batch of one of two options costs neither memory nor speed."""
    slower = best_of([larger.worth.pace, option.worth.pace]) != larger.worth.pace
    return not slower and same_memory(larger, option)


def times(pace: Pace, replicas: int) -> Pace:
    """Return the pace of so many servers, given that of one."""
    return replace(pace, throughput=pace.throughput * replicas)


def worst_of(paces: Collection[Pace]) -> Pace:
    """Return what all of some paces reach."""
    return Pace(
        throughput=min(pace.throughput for pace in paces),
        latency=min(pace.latency for pace in paces),
        tpot=min(pace.tpot for pace in paces),
        cost_per_mtok=min(pace.cost_per_mtok for pace in paces),
    )


def best_of(paces: Collection[Pace]) -> Pace:
    """Return what none of some paces exceeds."""
    return Pace(
        throughput=max(pace.throughput for pace in paces),
        latency=max(pace.latency for pace in paces),
        tpot=max(pace.tpot for pace in paces),
        cost_per_mtok=max(pace.cost_per_mtok for pace in paces),
    )
