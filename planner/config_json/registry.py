"""Which family each model class belongs to."""

from collections.abc import Mapping

from planner.config_json.bailing import BAILING
from planner.config_json.deepseek_v4 import DEEPSEEK_V4
from planner.config_json.dense import DENSE
from planner.config_json.family import Family
from planner.config_json.hybrids import HYBRIDS
from planner.config_json.minimax_m3 import MINIMAX_M3
from planner.config_json.mixtures import MIXTURES
from planner.config_json.relatives import RELATIVES
from planner.config_json.specials import SPECIALS
from planner.config_json.unusual import UNUSUAL

TEXT: Mapping[str, Family] = {
    **DENSE,
    **MIXTURES,
    **HYBRIDS,
    **SPECIALS,
    **DEEPSEEK_V4,
    **MINIMAX_M3,
    **BAILING,
    **RELATIVES,
    **UNUSUAL,
}
