"""Memory: one server and a GPU in; what it takes, from peaks to the budget, and whether it starts, out."""
