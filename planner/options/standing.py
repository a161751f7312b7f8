"""Standing: the option that servers of an earlier plan are, whatever else would be tried for their role today.

The ladders try what a role's wishes and targets suggest, and leave out what others beat. Servers that stand meet the
role's requirements or they do not; neither a wish that rose nor a target that fell makes them worse.
"""

from msgspec import Struct
from msgspec.structs import replace

from planner.catalog import Catalog
from planner.fleet import Role
from planner.options.candidates import Candidate, candidates
from planner.options.figures import RoleFigures
from planner.options.layouts import Layout, allows, narrowed
from planner.options.option import Option, Rejection
from planner.options.paces import Pacing
from planner.options.place import Place
from planner.options.replicas import standing_load
from planner.options.rungs import Rungs
from planner.units import ceil_div


class Standing(Struct, frozen=True, kw_only=True):
    """What the equal servers of a role were started with; ``repository`` is a path for a local model.

    ``max_num_seqs`` are the sequences of each data-parallel rank.
    """

    repository: str
    kv_cache_dtype: str
    max_model_len: int
    max_num_batched_tokens: int
    max_num_seqs: int
    layout: Layout


def standing_options(
    role: Role, place: Place, catalog: Catalog, had: Standing, most: int, pacing: Pacing | None = None
) -> tuple[Option, ...]:
    """Return servers as they stand as options of the role on GPUs of a place; none if they break a rule of it.

    There are as many servers as the role has, or where that is open every number up to ``most`` that serves the
    requests required; of a role across pools ``most``. ``pacing`` counts their speed.
    """
    if not allows(role, had.layout):
        return ()
    least = max(1, ceil_div(role.concurrency_min, had.layout.data_parallel_size * had.max_num_seqs))
    counts = range(least, most + 1) if role.replicas is None else range(role.replicas, role.replicas + 1)
    if role.across_pools:  # what servers in other pools add is not known here
        least, counts = 1, range(most, most + 1)
    figures = RoleFigures(role, catalog)
    for candidate in candidates(_narrowed(role, had), [place]):
        if isinstance(candidate, Rejection):
            continue
        name = candidate.variant.path or candidate.variant.repository
        if (name, candidate.kv_cache_dtype) == (had.repository, had.kv_cache_dtype):
            found = (_standing(role, candidate, had, count, figures, pacing) for count in counts if count >= least)
            return tuple(option for option in found if option)
    return ()


def _standing(
    role: Role, candidate: Candidate, had: Standing, count: int, figures: RoleFigures, pacing: Pacing | None
) -> Option | None:
    """Return so many servers as they stand as an option."""
    load = standing_load(role, count, had.max_num_seqs, had.layout.data_parallel_size)
    if pacing:
        load = replace(load, most=had.max_num_seqs)
    rungs = Rungs(role, candidate, load, figures, figures.measure, avoid=True, pacing=pacing)
    return rungs.exactly(had.max_model_len, had.max_num_batched_tokens, had.max_num_seqs)


def _narrowed(role: Role, had: Standing) -> Role:
    """Return the role with the models and the layout that stand alone."""
    models = [m for m in role.models if any((v.path or v.repository) == had.repository for v in m.variants)]
    return replace(narrowed(role, had.layout), models=tuple(models))
