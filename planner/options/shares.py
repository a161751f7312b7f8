"""Shares: a role whose servers may be in several pools, as one seat that leads and one for each further pool.

What clients see of a role is the same wherever its servers are: one checkpoint, one context. All else may differ: how
servers are split over GPUs, what the KV cache is kept in, the batch, the requests. The seat that leads has every option
of the role and counts its accuracy and context; the seat of a pool has those options there, and adds requests. So that
the role is as accurate as its least accurate servers, these lead.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from planner.fleet import Role
from planner.options.option import Option, Prepared, RoleOptions
from planner.options.worth import SHARE

Kin = tuple[str, int]
"""What servers of a role in different pools have in common: the checkpoint and the context."""


class Seat(Struct, frozen=True, kw_only=True):
    """Some of the servers of a role, and the options that they may be; ``pool`` is None where they lead.

    ``kins`` are all checkpoints and contexts that servers of the role may have.
    """

    role: Role
    pool: int | None = None
    options: tuple[Option, ...]
    kins: tuple[Kin, ...] = ()

    @property
    def name(self) -> str:
        """The role's own name, or one that no role has."""
        return self.role.name if self.pool is None else f"{self.role.name}@{self.pool}"

    @property
    def optional(self) -> bool:
        """Whether there may be none of these servers."""
        return self.role.optional or self.pool is not None


def seats(prepared: Prepared) -> tuple[Seat, ...]:
    """Return the seats of all roles that have options, those of a role one after another, the one that leads first."""
    return tuple(seat for found in prepared.roles if found.options for seat in seats_of(found))


def seats_of(found: RoleOptions) -> Iterator[Seat]:
    """Yield the seats of one role."""
    across = found.role.across_pools
    kins = tuple(sorted({kin(option) for option in found.options})) if across else ()
    yield Seat(role=found.role, options=found.options, kins=kins)
    pools = sorted({option.pool for option in found.options}) if across else []
    for pool in pools if len(pools) > 1 else ():
        here = tuple(option for option in found.options if option.pool == pool)
        yield Seat(role=found.role, pool=pool, options=here, kins=kins)


def teams(found: Sequence[Seat]) -> Iterator[tuple[int, ...]]:
    """Yield the positions of the seats of each role that has several, or may have."""
    for position, seat in enumerate(found):
        if seat.pool is None and seat.role.across_pools:
            yield tuple(at for at, other in enumerate(found) if at >= position and other.role.name == seat.role.name)


def kin(option: Option) -> Kin:
    """Return what servers of a role in different pools must have in common."""
    return option.variant.path or option.variant.repository, option.max_model_len


def request_worth(role: Role) -> int:
    """Return what one request of a role adds to the share of its target that is served, by its weight."""
    return role.weight * (SHARE // role.concurrency_target)
