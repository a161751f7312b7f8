"""Problem: the fleet as integers only; the solver iterates over it and computes nothing.

A candidate is one option of one role on one pool: ``blocks`` equal servers, each on ``width`` GPUs of one node, or on
as many such blocks of GPUs as it has pipeline stages. Memory on each GPU is ``Demand``'s: linear in the server's
sequences but for two floors. Each stage of the objective is a sum over the roles of
``constant + per_sequence × sequences`` of the chosen candidate.
"""

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

COST = "cost"
"""The stage that counts the price of the GPUs, or whole nodes, in use, negative so that more is better."""

MINIMAL_CHANGE = "minimal-change"
"""The stage that counts the servers that stay as and where an earlier plan has them."""


Decided = tuple[int, int] | None
"""A candidate and its sequences; None for an optional role that is left out."""


class Candidate(Struct, frozen=True, kw_only=True):
    """One option of a role: sizes in bytes per GPU, ``worth`` has one pair per stage.

    ``width`` is a power of two. The blocks of a server's ``stages`` are apart: each on a node of its own when
    ``across``, otherwise on different GPUs of one node. ``least`` and ``most`` are the sequences of each server.
    Not all roles that have ``barred`` candidates may choose one: that finds another combination than a known one.
    ``stays`` are the blocks of servers of an earlier plan that are like these, server by server: each server that is
    where one of them was stays. The worth in that stage is the most of them that can.
    A server of a role that takes turns keeps ``asleep`` bytes of each GPU while others are awake, whatever its
    sequences, and all its servers together ``host`` bytes of the machine's memory. In a team, all its servers have
    ``ranks`` requests for each of their sequences; candidates of one ``kin`` go together, the lowest ``rank`` leads.
    """

    pool: int = 0
    width: int = 1
    stages: int = 1
    across: bool = False
    blocks: int = 1
    fixed: int
    per_sequence: int
    kv_floor: int
    kv_per_sequence: int
    peak_floor: int
    peak_base: int
    peak_per_sequence: int
    least: int
    most: int
    worth: tuple[tuple[int, int], ...]
    barred: bool = False
    stays: "tuple[Block, ...]" = ()
    asleep: int = 0
    host: int = 0
    ranks: int = 0
    kin: int = 0
    rank: int = 0

    @property
    def floors(self) -> bool:
        """Whether the footprint has bends: a floor under the cache or the activation peak, or a base of the peak."""
        return any((self.kv_floor, self.kv_per_sequence, self.peak_floor, self.peak_base, self.peak_per_sequence))

    @property
    def gpus(self) -> int:
        """The GPUs all servers are on, counted once per server."""
        return self.width * self.stages * self.blocks

    @property
    def layout(self) -> "tuple[int, int, int, bool, tuple[Block, ...]]":
        """What decides, beside the width, where the servers may be: pool, servers, stages, across nodes, and stays."""
        return self.pool, self.blocks, self.stages, self.across, self.stays

    def footprint(self, sequences: int) -> int:
        """Return the bytes taken of each GPU with so many sequences per server."""
        return (
            self.fixed
            + self.per_sequence * sequences
            + max(self.kv_floor, self.kv_per_sequence * sequences)
            + max(self.peak_floor, self.peak_base + self.peak_per_sequence * sequences)
        )

    def value(self, stage: int, sequences: int) -> int:
        """Return what the candidate adds to a stage with so many sequences per server."""
        constant, per_sequence = self.worth[stage]
        return constant + per_sequence * sequences


class RoleProblem(Struct, frozen=True, kw_only=True):
    """One role: exactly one of its candidates is chosen, or at most one when it is ``optional`` and others are not.

    ``stacked`` is how many of the role's servers may be on one GPU. ``spread`` puts each on a node of its own.
    """

    name: str
    candidates: tuple[Candidate, ...]
    optional: bool = False
    stacked: int = 1
    spread: bool = False


def still_barred(before: Sequence[RoleProblem], after: Sequence[RoleProblem]) -> tuple[RoleProblem, ...]:
    """Return roles of which candidates were left out, with nothing barred where one has no barred ones any more.

    That role chooses another one, so no choice is the known combination.
    """
    had, has = ([any(one.barred for one in role.candidates) for role in roles] for roles in (before, after))
    if had == has:
        return tuple(after)
    return tuple(
        replace(role, candidates=tuple(replace(one, barred=False) for one in role.candidates)) for role in after
    )


class PoolProblem(Struct, frozen=True, kw_only=True):
    """Nodes that are alike: the bytes servers may take of each GPU, and what those in use cost per hour.

    ``paid`` GPUs are paid together when one of them is in use: 1, or all of a node that is rented whole.

    ``nodes`` are the numbers of the nodes; two pools may have GPUs in one node.
    """

    capacity: int
    width: int = 1
    nodes: tuple[int, ...] = (0,)
    price: int = 1
    paid: int = 1

    @property
    def gpus(self) -> int:
        """GPUs on all nodes together."""
        return self.width * len(self.nodes)

    @property
    def most_price(self) -> int:
        """What all GPUs cost."""
        return self.price * (self.gpus // self.paid)


class Turn(Struct, frozen=True):
    """A group of roles, by their positions, of which up to ``awake`` are awake at once."""

    roles: tuple[int, ...]
    awake: int


class Team(Struct, frozen=True, kw_only=True):
    """Roles, by their positions, whose servers do one job; the first leads, and the others are optional.

    When they are served, together they have at least ``least`` requests, and ``servers`` servers unless that is None.
    Of more than ``most`` requests the surplus is worth nothing: one request counts ``worth`` in each stage.
    """

    roles: tuple[int, ...]
    least: int
    most: int
    servers: int | None
    worth: tuple[int, ...]


class Problem(Struct, frozen=True, kw_only=True):
    """Choose a candidate and its sequences for every role, and blocks of GPUs for its servers.

    ``roles`` are in order of their names. ``apart`` are pairs of positions of roles that may not be on one GPU.
    ``stages`` names what is maximised, each before the next; ``cost`` among them means the price of the GPUs in use,
    which is minimised and to which candidates add nothing. ``floors`` are pairs of the position of a stage, not of
    the cost, and the value that it must reach whatever comes before it. ``turns`` are groups of roles that take turns,
    none of which is in two of them; asleep, all roles together may keep ``host`` bytes of the machine's memory, None
    for any number. ``teams`` are groups of roles that do one job in different pools.
    """

    roles: tuple[RoleProblem, ...]
    pools: tuple[PoolProblem, ...]
    stages: tuple[str, ...]
    apart: frozenset[tuple[int, int]] = frozenset()
    floors: tuple[tuple[int, int], ...] = ()
    turns: tuple[Turn, ...] = ()
    host: int | None = None
    teams: tuple[Team, ...] = ()

    @property
    def turning(self) -> frozenset[int]:
        """The positions of all roles that take turns."""
        return frozenset(role for turn in self.turns for role in turn.roles)

    def mates(self, role: int) -> frozenset[int]:
        """Return the positions of the roles of the same team, which are in other pools; with its own."""
        return frozenset(mate for team in self.teams if role in team.roles for mate in team.roles)

    def alone(self, role: int) -> bool:
        """Whether a role shares its GPUs with nobody, not even with itself, so that it takes them whole."""
        others = set(range(len(self.roles))) - {role} - self.mates(role)
        return (
            bool(others)
            and self.roles[role].stacked == 1
            and all((min(role, other), max(role, other)) in self.apart for other in others)
        )


class Block(Struct, frozen=True, order=True):
    """Adjacent GPUs of one node: ``width`` of them from ``first``, which is a multiple of ``width``."""

    pool: int
    node: int
    first: int
    width: int

    @property
    def gpus(self) -> tuple[tuple[int, int, int], ...]:
        """The GPUs, each as pool, position of the node in the pool, position in the node."""
        return tuple((self.pool, self.node, index) for index in range(self.first, self.first + self.width))


def by_server(blocks: Sequence[Block], stages: int) -> list[tuple[Block, ...]]:
    """Return the blocks of each server, of those that follow one another."""
    return [tuple(blocks[first : first + stages]) for first in range(0, len(blocks), stages)]


def staying(candidate: Candidate, blocks: Sequence[Block]) -> int:
    """Return how many servers on these blocks are where a server like them was."""
    if not candidate.stays:
        return 0
    now, before = (Counter(by_server(found, candidate.stages)) for found in (blocks, candidate.stays))
    return (now & before).total()


class Choice(Struct, frozen=True, kw_only=True):
    """What one role gets: the index of its candidate, the sequences of each server, one block per stage of each server.

    The blocks of a server's stages follow one another.
    """

    candidate: int
    sequences: int
    blocks: tuple[Block, ...]


class StageValue(Struct, frozen=True, kw_only=True):
    """The value of a stage in the answer, the bound no answer can exceed, and whether that was proven.

    A stage is proven when value and bound are equal and the stages before it are proven.
    """

    name: str
    value: int
    bound: int
    proven: bool


class Answer(Struct, frozen=True, kw_only=True):
    """One choice per role, in the problem's order, None for an optional role left out; and what was proven about it.

    It is ``interrupted`` when whoever watched the solver ended the search.
    """

    choices: tuple[Choice | None, ...]
    stages: tuple[StageValue, ...]
    model_sha256: str
    interrupted: bool = False
