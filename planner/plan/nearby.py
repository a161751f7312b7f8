"""Nearby: what a role would have with one thing changed that people have in mind, beside what the plan gives it."""

from msgspec import Struct

from planner.options import Rejection

LIGHTER, HEAVIER = "fewer bits", "more bits"
SMALLER, LARGER = "next size down", "next size up"
OFFICIAL, MORE_GPUS = "official checkpoint", "more GPUs"


class Change(Struct, frozen=True, kw_only=True):
    """What a role gains or loses against the plan; None where one of the two is not known.

    ``accuracy`` is in hundredths of a point on ``scale``, which is a benchmark, ``recovery`` where only quantization
    differs and no benchmark is known, or ``assumed``. ``requests`` are those of all its servers,
    ``millitokens_per_second`` those of one request with all of them running, ``microdollars_per_hour`` what all GPUs in
    use cost, ``gpus`` how many these are.
    """

    scale: str
    accuracy: int | None
    requests: int
    millitokens_per_second: int | None
    microdollars_per_hour: int | None
    gpus: int


class Nearby(Struct, frozen=True, kw_only=True):
    """The best plan with another checkpoint of a role, or with more GPUs of a pool, where all else may change.

    ``kind`` is one of the names above; the other roles keep their checkpoints. ``wanted`` is what was asked for: bits
    of a weight, a model, a publisher, or GPUs. The rest is what the role then has, and ``left_out`` optional roles that
    the plan serves. Without a ``change`` there is no such plan: ``rejection`` says why no option of the role is one,
    where that is why, and ``found`` is false where none was found in time.
    """

    role: str
    kind: str
    wanted: str
    repository: str = ""
    scheme: str = ""
    kv_cache_dtype: str = ""
    max_model_len: int = 0
    replicas: int = 0
    requests: int = 0
    price_basis: str = ""
    left_out: tuple[str, ...] = ()
    change: Change | None = None
    rejection: Rejection | None = None
    found: bool = True
