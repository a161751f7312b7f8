"""How fast the solver is, how far from the best, and what a greedy planner loses: `python -m benchmarks.solver`."""
