#!/usr/bin/env bash
# CP-SAT calls a plan OPTIMAL that costs 8 % too much, because its objective is in dollars per token.
#
# OR-Tools 9.15.6755 stops as soon as value and bound are within 0.0001 of each other, in the objective's own unit, whatever
# its size, and then says OPTIMAL, not FEASIBLE. Prices per token are about a millionth of a dollar, so that the first
# answers pass. Nothing is logged; best_objective_bound alone shows it. The same model in millionths of a dollar is solved.
#
# Seen with OR-Tools 9.15.6755, one worker, on Python 3.11 (30 integers; the optimum is 180):
#   weights times 1 -> OPTIMAL, 180, bound 180
#   weights times 1e-06 -> OPTIMAL, 195, bound 136
#   weights times 1e-06, absolute_gap_limit = 0 -> OPTIMAL, 180, bound 180
# Exits with 1 when a scaled objective is solved to its optimum, or is no longer called OPTIMAL.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "${folder}"' EXIT
python3 -m venv "${folder}/env"
"${folder}/env/bin/pip" install --quiet --disable-pip-version-check ortools==9.15.6755

cat >"${folder}/ask.py" <<'PY'
import sys

from ortools.sat.python import cp_model


def solved(unit: float, gap: float | None = None) -> tuple[str, int, int]:
    model = cp_model.CpModel()
    counts = [model.new_int_var(0, 10, f"count_{number}") for number in range(30)]
    for number, count in enumerate(counts):
        model.add(3 * count + 5 * counts[(number + 7) % 30] + 7 * counts[(number + 11) % 30] >= 23)
    model.minimize(unit * sum((2 + number % 5) * count for number, count in enumerate(counts)))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    if gap is not None:
        solver.parameters.absolute_gap_limit = gap
    status = solver.solve(model)
    return solver.status_name(status), round(solver.objective_value / unit), int(solver.best_objective_bound / unit + 0.01)


plain, scaled, strict = solved(1), solved(1e-6), solved(1e-6, gap=0)
for what, (status, value, bound) in (("1", plain), ("1e-06", scaled), ("1e-06, absolute_gap_limit = 0", strict)):
    print(f"weights times {what} -> {status}, {value}, bound {bound}")
as_seen = plain == strict == ("OPTIMAL", 180, 180) and scaled[0] == "OPTIMAL" and scaled[1] > 180 > scaled[2]
sys.exit(not as_seen)
PY
"${folder}/env/bin/python" "${folder}/ask.py"
