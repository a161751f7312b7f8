"""Problem -> CP-SAT model of the choice: one candidate per role and its sequences, exact to one.

``chosen[role, candidate]`` is a boolean, one per role. The sequences of a candidate are an integer of its own, between
its limits when chosen and 0 otherwise, so that memory stays linear without a product of variables. The two floors of a
footprint, where candidates have any, are integers held above both of their lines; a tight capacity or the headroom
pushes them down onto the larger one.

Memory is counted per pool as a whole here. That is exact for one GPU; for more it is a bound, because what fits the sum
need not fit the GPUs. ``placing`` adds the GPUs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct, field

from planner.search.cp_sat import cp_model
from planner.search.problem import COST, MINIMAL_CHANGE, Candidate, Problem, Team, Turn
from planner.search.teams import goes_with
from planner.search.turns import awake_sets
from planner.search.watch import go_on
from planner.units import ceil_div

Key = tuple[int, int]
"""Positions of a role and of one of its candidates."""

Row = tuple[Key, Candidate]
Line = cp_model.LinearExpr | cp_model.IntVar


class Model(Struct):
    """A CP-SAT model and its variables by what they mean.

    ``taken`` are the bytes taken on each pool, all GPUs together, and ``used`` how many of its GPUs are in use;
    ``shared`` is the part of each group of roles that take turns in what is taken on a pool. ``moved`` are the servers
    of a role that could stay as they were and do not: as few as is wanted, until the GPUs join the model. ``surplus``
    are the requests of each team that count for nothing.
    """

    problem: Problem
    cp: cp_model.CpModel = field(default_factory=cp_model.CpModel)
    chosen: dict[Key, cp_model.IntVar] = field(default_factory=dict)
    sequences: dict[Key, cp_model.IntVar] = field(default_factory=dict)
    taken: list[cp_model.LinearExpr] = field(default_factory=list)
    used: list[cp_model.IntVar] = field(default_factory=list)
    paid: list[cp_model.IntVar] = field(default_factory=list)
    shared: dict[tuple[int, int], cp_model.IntVar] = field(default_factory=dict)
    moved: dict[int, cp_model.IntVar] = field(default_factory=dict)
    surplus: list[cp_model.IntVar] = field(default_factory=list)

    def rows(self, role: int | None = None, pool: int | None = None) -> Iterator[tuple[Key, Candidate]]:
        """Yield what may be decided, for one role or pool, or for all."""
        for position, found in enumerate(self.problem.roles):
            if role in (None, position):
                for index, candidate in enumerate(found.candidates):
                    if pool in (None, candidate.pool):
                        yield (position, index), candidate

    def line(
        self, rows: Sequence[Row], constant: Callable[[Candidate], int], slope: Callable[[Candidate], int]
    ) -> cp_model.LinearExpr:
        """Return the sum over candidates of ``constant`` when chosen and ``slope`` per sequence."""
        variables = [self.chosen[key] for key, _ in rows] + [self.sequences[key] for key, _ in rows]
        factors = [constant(candidate) for _, candidate in rows] + [slope(candidate) for _, candidate in rows]
        return cp_model.LinearExpr.weighted_sum(variables, factors)

    def stage(self, stage: int) -> cp_model.LinearExpr:
        """Return the value of a stage of the problem."""
        if self.problem.stages[stage] == COST:
            return 0 - self.cost()
        value = self.line(list(self.rows()), lambda c: c.worth[stage][0], lambda c: c.worth[stage][1])
        if self.problem.stages[stage] == MINIMAL_CHANGE:
            return value - cp_model.LinearExpr.sum(list(self.moved.values()))
        for team, surplus in zip(self.problem.teams, self.surplus, strict=True):
            value = value - team.worth[stage] * surplus if team.worth[stage] else value
        return value

    def cost(self) -> cp_model.LinearExpr:
        """Return the price of the GPUs, or whole nodes, in use."""
        return cp_model.LinearExpr.weighted_sum(self.paid, [pool.price for pool in self.problem.pools])

    def headroom(self) -> cp_model.LinearExpr:
        """Return the bytes left free on all GPUs together."""
        total = sum(pool.capacity * pool.gpus for pool in self.problem.pools)
        return total - cp_model.LinearExpr.sum(self.taken)


def build(problem: Problem) -> Model:
    """Return the model of the choice, without an objective.

    Raises:
        BudgetSpent: whoever watches wants no more.
    """
    model = Model(problem)
    _add_choices(model)
    for number, team in enumerate(problem.teams):
        _add_team(model, team, f"team[{number}]")
    for pool in range(len(problem.pools)):
        _add_memory(model, pool)
    _add_bar(model)
    _add_host(model)
    for stage, least in problem.floors:
        model.cp.add(model.stage(stage) >= least)
    return model


def footprint(
    model: Model, rows: Sequence[Row], label: str, largest: int, times: Callable[[Candidate], int]
) -> cp_model.IntVar:
    """Return what the chosen one of some candidates takes, each candidate counted ``times`` over; at most ``largest``.

    It is a variable of its own, so that the rows of the GPUs are short: that makes proofs several times faster. Floors
    have variables only where there are any, which pieces of candidates have not.
    """
    rest = model.line(rows, lambda c: times(c) * c.fixed, lambda c: times(c) * c.per_sequence)
    if not any(candidate.floors for _, candidate in rows):
        size = model.cp.new_int_var(0, largest, f"{label}.bytes")
        model.cp.add(size >= rest)  # an equation takes the solver's presolve many times as long
        return size
    cache = model.cp.new_int_var(0, largest, f"{label}.kv")
    peak = model.cp.new_int_var(0, largest, f"{label}.peak")
    size = model.cp.new_int_var(0, largest, f"{label}.bytes")
    model.cp.add(cache >= model.line(rows, lambda c: times(c) * c.kv_floor, lambda c: 0))
    model.cp.add(cache >= model.line(rows, lambda c: 0, lambda c: times(c) * c.kv_per_sequence))
    model.cp.add(peak >= model.line(rows, lambda c: times(c) * c.peak_floor, lambda c: 0))
    model.cp.add(peak >= model.line(rows, lambda c: times(c) * c.peak_base, lambda c: times(c) * c.peak_per_sequence))
    model.cp.add(size == rest + cache + peak)
    return size


def _add_choices(model: Model) -> None:
    """One candidate per role, at most one of an optional role; sequences within the limits of the one chosen.

    A plan serves something: when all roles are optional, one of them is not left out.
    """
    cp = model.cp
    for role, found in enumerate(model.problem.roles):
        go_on()
        for index, candidate in enumerate(found.candidates):
            label = f"{found.name}.option[{index}]"
            chosen = cp.new_bool_var(label)
            count = cp.new_int_var(0, candidate.most, f"{label}.sequences")
            cp.add(count <= candidate.most * chosen)
            cp.add(count >= candidate.least * chosen)
            model.chosen[role, index], model.sequences[role, index] = chosen, count
        ways = [model.chosen[role, index] for index in range(len(found.candidates))]
        if found.optional:
            cp.add_at_most_one(ways)
        else:
            cp.add_exactly_one(ways)
        most = max((len(c.stays) // c.stages for c in found.candidates), default=0)
        if most and MINIMAL_CHANGE in model.problem.stages:
            model.moved[role] = cp.new_int_var(0, most, f"{found.name}.moved")
    if all(found.optional for found in model.problem.roles):
        cp.add_bool_or(model.chosen.values())


def _add_team(model: Model, team: Team, label: str) -> None:
    """The team has requests and servers enough when its first role is served; the others go with that role."""
    cp, (first, *others) = model.cp, team.roles
    leads = list(model.rows(first))
    rows = [row for role in team.roles for row in model.rows(role)]
    served = cp_model.LinearExpr.sum([model.chosen[key] for key, _ in leads])
    requests = model.line(rows, lambda c: 0, lambda c: c.ranks)
    cp.add(requests >= team.least * served)
    if team.servers is not None:
        cp.add(model.line(rows, lambda c: c.blocks, lambda c: 0) == team.servers * served)
    for role in others:
        alike: dict[tuple[int, int, int], list[Row]] = {}
        for key, candidate in model.rows(role):
            alike.setdefault((candidate.kin, candidate.pool, candidate.rank), []).append((key, candidate))
        for group in alike.values():
            beside = [model.chosen[key] for key, lead in leads if goes_with(lead, group[0][1])]
            cp.add(cp_model.LinearExpr.sum([model.chosen[key] for key, _ in group]) <= cp_model.LinearExpr.sum(beside))
    surplus = cp.new_int_var(0, most_surplus(model.problem, team), f"{label}.surplus")
    cp.add_max_equality(surplus, [requests - team.most, 0])
    model.surplus.append(surplus)


def most_surplus(problem: Problem, team: Team) -> int:
    """Return the most requests that may be beyond those of a team that count."""
    each = [max((c.ranks * c.most for c in problem.roles[role].candidates), default=0) for role in team.roles]
    return max(0, sum(each) - team.most)


def _add_bar(model: Model) -> None:
    """At least one of the roles that have barred candidates chooses none of these."""
    barred = [key for key, candidate in model.rows() if candidate.barred]
    if barred:
        most = len({role for role, _ in barred}) - 1
        model.cp.add(cp_model.LinearExpr.sum([model.chosen[key] for key in barred]) <= most)


def _add_host(model: Model) -> None:
    """Keep what sleeping roles leave in the machine's memory within it."""
    if model.problem.host is not None:
        model.cp.add(model.line(list(model.rows()), lambda c: c.host, lambda c: 0) <= model.problem.host)


def taking_turns(
    model: Model, turn: Turn, awake: Mapping[int, Line], asleep: Mapping[int, Line], label: str, largest: int
) -> cp_model.IntVar:
    """Return what a group takes somewhere: no less than any of its largest awake sets, with the others asleep.

    ``awake`` and ``asleep`` are what each of its roles takes there, as far as they can be there.
    """
    size = model.cp.new_int_var(0, largest, label)
    for roles in awake_sets(turn):
        parts = [awake[role] if role in roles else asleep[role] for role in turn.roles if role in awake]
        model.cp.add(size >= cp_model.LinearExpr.sum(parts))
    return size


def _add_memory(model: Model, pool: int) -> None:
    """Keep what is taken of a pool within the GPUs in use, and these within the pool."""
    shape = model.problem.pools[pool]
    fewest = 0 if COST in model.problem.stages else shape.gpus
    used = model.cp.new_int_var(fewest, shape.gpus, f"pool[{pool}].gpus")
    parts: list[Line] = []
    awake: dict[int, Line] = {}
    asleep: dict[int, Line] = {}
    turning = model.problem.turning
    for role, found in enumerate(model.problem.roles):
        go_on()
        rows = list(model.rows(role, pool))
        if not rows:
            continue
        if model.problem.alone(role):
            parts.append(model.line(rows, lambda c: c.gpus * shape.capacity, lambda c: 0))
        else:
            label = f"{found.name}@{pool}"
            size = footprint(model, rows, label, shape.capacity * shape.gpus, lambda c: c.gpus)
            if role in turning:
                awake[role], asleep[role] = size, model.line(rows, lambda c: c.gpus * c.asleep, lambda c: 0)
            else:
                parts.append(size)
        stacked = found.stacked
        model.cp.add(model.line(rows, lambda c: c.width * ceil_div(c.blocks * c.stages, stacked), lambda c: 0) <= used)  # noqa: B023
    for number, turn in enumerate(model.problem.turns):
        size = taking_turns(model, turn, awake, asleep, f"turn[{number}]@{pool}", shape.capacity * shape.gpus)
        model.shared[number, pool] = size
        parts.append(size)
    taken = cp_model.LinearExpr.sum(parts)
    model.cp.add(taken <= shape.capacity * used)
    large = [
        (key, c)
        for key, c in model.rows(None, pool)
        if key[0] not in turning and 2 * c.footprint(c.least) > shape.capacity
    ]
    model.cp.add(model.line(large, lambda c: c.gpus, lambda c: 0) <= used)
    model.taken.append(taken)
    model.used.append(used)
    model.paid.append(_paid(model, used, pool))


def _paid(model: Model, used: cp_model.IntVar, pool: int) -> cp_model.IntVar:
    """Return the nodes that are paid for the GPUs in use, or these where each is paid by itself."""
    shape = model.problem.pools[pool]
    if shape.paid == 1:
        return used
    nodes = model.cp.new_int_var(0, shape.gpus // shape.paid, f"pool[{pool}].paid")
    model.cp.add(shape.paid * nodes >= used)
    return nodes
