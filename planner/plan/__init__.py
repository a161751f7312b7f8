"""Plan: what was decided in; the answer to a fleet as frozen facts, and ``plan.yaml`` that carries them, out.

Everything a reader, an artifact template or the checker needs is in the plan; nobody has to solve again to use it.
"No plan exists" is an answer too: ``NoPlan`` says what conflicts and what would help.
"""

from planner.memory.demand import Ledger
from planner.plan.difference import Difference, Gain, differences, gain
from planner.plan.document import SCHEMA, earlier_plan, plan_from_yaml, plan_json, plan_to_yaml
from planner.plan.faults import KnownFault, faults_of
from planner.plan.frontier import AXES, LESS, Frontier, reached, undominated
from planner.plan.lock import Lock, lock_of, stale
from planner.plan.money import HourlyPrice, Money, TokenPrice, money_of, price_of
from planner.plan.no_plan import Change, Conflict, Need, NoPlan, Requirement, Supply
from planner.plan.plan import (
    COST,
    GPU_HOURS,
    GPUS_IN_USE,
    Binding,
    CloseCall,
    Cost,
    FrontierPoint,
    GPULedger,
    GPUPrice,
    Plan,
    Proof,
    RunnerUp,
    RunnerUpServer,
    Stage,
    Unsearched,
)
from planner.plan.server import GPUGroup, ServerPlan, ServerSpeed, SharedRole, busy_permille, server_speed
from planner.plan.turns import Asleep, asleep_of, awake_sets

__all__ = [
    "AXES",
    "COST",
    "GPUS_IN_USE",
    "GPU_HOURS",
    "LESS",
    "SCHEMA",
    "Asleep",
    "Binding",
    "Change",
    "CloseCall",
    "Conflict",
    "Cost",
    "Difference",
    "Frontier",
    "FrontierPoint",
    "GPUGroup",
    "GPULedger",
    "GPUPrice",
    "Gain",
    "HourlyPrice",
    "KnownFault",
    "Ledger",
    "Lock",
    "Money",
    "Need",
    "NoPlan",
    "Plan",
    "Proof",
    "Requirement",
    "RunnerUp",
    "RunnerUpServer",
    "ServerPlan",
    "ServerSpeed",
    "SharedRole",
    "Stage",
    "Supply",
    "TokenPrice",
    "Unsearched",
    "asleep_of",
    "awake_sets",
    "busy_permille",
    "differences",
    "earlier_plan",
    "faults_of",
    "gain",
    "lock_of",
    "money_of",
    "plan_from_yaml",
    "plan_json",
    "plan_to_yaml",
    "price_of",
    "reached",
    "server_speed",
    "stale",
    "undominated",
]
