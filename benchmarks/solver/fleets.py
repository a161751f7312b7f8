"""Random fleets of a given size: roles × options × GPUs, with capacity that binds.

A role is a model of some size; its options vary quantization, KV cache dtype, context, sequences, replicas and tensor
parallelism, and each serves at least what the role demands. GPUs are just too few: the best options of all roles would
need 1.6 to 1.9 times what there is. The same seed gives the same fleet on any machine.
"""

import dataclasses
import itertools
import random
from typing import Any, cast

from planner.memory.demand import Demand
from planner.options import Option
from planner.options.problem import candidate
from planner.options.worth import Worth
from planner.search.problem import PoolProblem, Problem, RoleProblem
from planner.units import GIB, MIB

CAPACITY = 79_872 * MIB
NODE = 8
STAGES = ("accuracy",)

_SIZES = (0.6, 1.7, 4, 8, 14, 32, 70, 120)
_WEIGHTS = {"bf16": (2.0, 1.0), "fp8": (1.0, 0.995), "w4a16": (0.55, 0.97)}
_CACHES = {"bf16": (1.0, 1.0), "fp8": (0.5, 0.993)}
_CONTEXTS = (8, 32, 128)
_SEQUENCES = (1, 4, 8, 16, 32, 64)
_SPLITS = (1, 2, 4, 8)
_REPLICAS = (1, 2, 3, 4, 6, 8)
_OVERHEAD = 3 * GIB // 2


@dataclasses.dataclass(frozen=True)
class _Named:
    repository: str


@dataclasses.dataclass(frozen=True)
class _Flags:
    tensor_parallel_size: int
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1

    @property
    def ranks(self) -> int:
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size


@dataclasses.dataclass(frozen=True)
class _Server:
    flags: _Flags


@dataclasses.dataclass(slots=True)
class _Role:
    """What a role's options are drawn from: a seed, the largest model, the requests at once, a weight."""

    seed: str
    largest: int
    demand: int
    weight: int
    count: int

    def options(self) -> list[Option]:
        """Return options of models up to the largest, in every form that serves the demand, in random order."""
        rng = random.Random(self.seed)
        sizes = _SIZES[: self.largest + 1]
        kinds = list(itertools.product(sizes, _WEIGHTS, _CACHES, _CONTEXTS, _SEQUENCES, _SPLITS, _REPLICAS))
        rng.shuffle(kinds)
        found: list[Option] = []
        for size, scheme, cache, context, sequences, split, replicas in kinds:
            if self.demand <= sequences * replicas < 4 * self.demand:
                option = _option(self.weight, size, scheme, cache, context, sequences, split, replicas)
                if option.least_bytes <= CAPACITY:
                    found.append(option)
            if len(found) == self.count:
                break
        return found

    def best_bytes(self) -> int:
        """Return what the most accurate option takes of all its GPUs."""
        return max(self.options(), key=lambda option: (option.worth.accuracy, -option.total_bytes)).total_bytes


def fleet(roles: int, options: int, gpus: int, seed: int) -> tuple[Problem, int]:
    """Return a fleet as the solver sees it, and how many options there are."""
    members = _scaled(roles, options, gpus, seed)
    found = [member.options() for member in members]
    candidates = [tuple(candidate(1, option, STAGES) for option in sorted(group, key=_order)) for group in found]
    problem = Problem(
        roles=tuple(RoleProblem(name=f"role-{i:03}", candidates=group) for i, group in enumerate(candidates)),
        pools=(_pool(gpus),),
        stages=STAGES,
    )
    return problem, sum(map(len, found))


def _scaled(roles: int, options: int, gpus: int, seed: int) -> list[_Role]:
    """Draw roles, then make models larger or smaller until the best options need 1.6 to 1.9 times the GPUs."""
    rng = random.Random(f"{roles} {options} {gpus} {seed}")
    members = [
        _Role(f"{seed} {i}", rng.randrange(len(_SIZES)), rng.choice((4, 8, 16, 32, 64)), rng.randint(1, 3), options)
        for i in range(roles)
    ]
    needs = [member.best_bytes() for member in members]
    for _ in range(20 * roles):
        ratio = sum(needs) / (gpus * CAPACITY)
        if 1.6 <= ratio <= 1.9:
            break
        index = rng.randrange(roles)
        member = members[index]
        if ratio > 1.9 and rng.random() < 0.3 and member.demand > 4:
            member.demand //= 2
        else:
            member.largest = max(0, min(len(_SIZES) - 1, member.largest + (1 if ratio < 1.6 else -1)))
        needs[index] = member.best_bytes()
    return members


def _order(option: Option) -> tuple[int, int, str]:
    return -option.worth.accuracy, option.total_bytes, option.variant.repository


def _pool(gpus: int) -> PoolProblem:
    width = min(gpus, NODE)
    return PoolProblem(capacity=CAPACITY, width=width, nodes=tuple(range(gpus // width)))


def _option(
    weight: int, size: float, scheme: str, cache: str, context: int, sequences: int, split: int, replicas: int
) -> Option:
    bytes_per_weight, kept = _WEIGHTS[scheme]
    cache_bytes, cache_kept = _CACHES[cache]
    weights = int(size * bytes_per_weight * 10**9 / split)
    per_sequence = int((0.02 + 0.012 * size**0.5) * context / 8 * cache_bytes * GIB / split)
    score = (35 + 12 * size**0.35) * kept * cache_kept * (1 + 0.01 * (context > 8) + 0.01 * (context > 32))
    demand = Demand(
        fixed_bytes=weights + _OVERHEAD + per_sequence * sequences,
        null_block_bytes=0,
        state_bytes_per_sequence=0,
        kv_floor_bytes=0,
        kv_bytes_per_sequence=0,
        activation_floor_bytes=0,
        activation_base_bytes=0,
        activation_bytes_per_sequence=0,
        sequences_max=1,
    )
    worth = Worth(accuracy=int(score * 100) * weight, accuracy_left=0, context=0, batch=0, served_base=0, served=0)
    return Option(
        role="",
        pool=0,
        model=cast(Any, None),
        variant=cast(Any, _Named(f"{size}B {scheme}")),
        server=cast(Any, _Server(_Flags(split))),
        replicas=replicas,
        request_tokens=context * 1024,
        sequences_min=1,
        sequences_max=1,
        accuracy=cast(Any, None),
        demand=demand,
        least_bytes=demand.footprint(1),
        worth=worth,
    )
