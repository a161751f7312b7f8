"""Memory: what one server takes on one GPU, from peaks and overheads to the budget, and whether it starts."""
