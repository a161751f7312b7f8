"""What is assumed of models of which nothing comparable is published: larger and newer ones answer better.

    points = 30 + 5 × log2(billions of parameters) + 7.5 × years from 2023 to the first release of the generation

and five more for a model whose maker names the role's task. Parameters count as the geometric mean of all and of active
ones, which is 1:1 for dense models; of a model that is called by its effective size (E4B), that one counts as active.
Five points for a doubling are about what MMLU-Pro has within families of the catalog (Qwen2.5 from 0.5B to 72B, Gemma 3
from 4B to 27B); 7.5 points for a year stand for one and a half doublings, as the parameters needed for a result halve
about every eight months (Ho et al. 2024, arXiv 2403.05812). All sizes of a generation have one date, so that of two
sizes the larger one is never worse. It is a declared order to choose by, not a measurement: it meets no floor, and is
never compared with a published score.
"""

import math
import re
from collections.abc import Iterable

from planner.facts.variant import Model

ASSUMED = "assumed"
"""The name of the scale of these points."""

ASSUMED_ERROR = 500
"""How far two of these points, in hundredths, may be apart without saying anything: a doubling of the parameters."""

ASSUMED_SOURCE = "assumed from size and generation; no published benchmark compares the candidates"

_SIZE = re.compile(r"(?<![A-Za-z])[EA]?\d+(?:\.\d+)?[BM](?![A-Za-z])", re.IGNORECASE)
_ACTIVE = re.compile(r"-[AE](\d+(?:\.\d+)?)B", re.IGNORECASE)
_OLDEST = "2023-01"
_FIT = 5
"""As much as twice the parameters."""
_SPARSE = 10
"""A mixture that does not say how many parameters are active is taken for one with a tenth of them."""


def assumed_points(models: Iterable[Model], task: str = "") -> dict[str, int]:
    """Return the points of each model at a task, in hundredths, by repository; nothing if one's size is not known."""
    models = tuple(models)
    if not all(model.parameters for model in models):
        return {}
    named = [(generation(model), model) for model in models]
    first: dict[str, str] = {}
    for name, model in named:
        if model.released:
            first[name] = min(model.released, first.get(name, model.released))
    return {model.repository: _points(model, first.get(name, _OLDEST), task) for name, model in named}


def generation(model: Model) -> str:
    """Return what comes before the size in a name: ``qwen3-vl-`` of Qwen3-VL-8B-Instruct."""
    return _SIZE.split(model.name, maxsplit=1)[0].casefold()


def manner(model: Model) -> str:
    """Return what comes after the size in a name: ``-instruct`` of Qwen3-VL-8B-Instruct."""
    return _SIZE.split(model.name)[-1].casefold()


def _points(model: Model, released: str, task: str) -> int:
    size = math.isqrt(model.parameters * _active(model)) / 1e9
    years = int(released[:4]) - 2023 + (int(released[5:7]) - 1) / 12
    fit = _FIT if task in model.tasks else 0
    return round(100 * min(99.0, max(1.0, 30 + 5 * math.log2(size) + 7.5 * years + fit)))


def _active(model: Model) -> int:
    if model.active_parameters:
        return model.active_parameters
    named = _ACTIVE.search(model.name)
    if named:
        return round(float(named[1]) * 1e9)
    return model.parameters // _SPARSE if model.mixture else model.parameters
