"""Outdone: checkpoints of a role across pools that two others outdo wherever its servers are.

Servers of such a role have one checkpoint in all pools, so that a better option in one pool says nothing. A checkpoint
is outdone by another that for each of its options has one with as many servers of the same shape, context, KV cache,
batch and limit of requests, takes no more memory, and is as accurate: in any plan it can take the place of the first
everywhere. It takes two to outdo one, because a plan without one of them is asked for too.
"""

from collections.abc import Iterable, Sequence

from planner.options.option import Option
from planner.options.prune import never_larger

_ENOUGH = 2

Settings = tuple[object, ...]


def not_outdone(options: Iterable[Option]) -> list[Option]:
    """Return the options of the checkpoints that fewer than two others outdo."""
    found: dict[str, dict[Settings, Option]] = {}
    for option in options:
        found.setdefault(option.variant.path or option.variant.repository, {})[_settings(option)] = option
    names = sorted(found)
    needed = [name for name in names if len(list(_outdoing(found, names, name))) < _ENOUGH]
    return [option for name in needed for option in found[name].values()]


def _outdoing(found: dict[str, dict[Settings, Option]], names: Sequence[str], name: str) -> Iterable[str]:
    """Yield the checkpoints that outdo one; of equal ones the first does."""
    own = found[name]
    for other in names:
        theirs = found[other]
        if other != name and own.keys() <= theirs.keys():
            pairs = [(theirs[key], option) for key, option in own.items()]
            if all(_no_worse(*pair) for pair in pairs) and (other < name or not all(_no_worse(b, a) for a, b in pairs)):
                yield other


def _settings(option: Option) -> Settings:
    shape = option.layout, option.needs, option.tensor_parallel_size, option.data_parallel_size
    flags = option.server.flags
    limits = option.max_num_batched_tokens, option.sequences_min, option.sequences_max, option.max_model_len
    return *shape, flags.expert_parallel, flags.context_parallel_size, option.kv_cache_dtype, *limits


def _no_worse(one: Option, other: Option) -> bool:
    ours, theirs = one.worth, other.worth
    return (
        ours.accuracy >= theirs.accuracy
        and ours.accuracy_left >= theirs.accuracy_left
        and ours.score >= theirs.score
        and never_larger(one.demand, other.demand, other.sequences_min, other.sequences_max)
    )
