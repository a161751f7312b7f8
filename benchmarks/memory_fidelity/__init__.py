"""How close the memory model comes to what real start-ups logged: ``python -m benchmarks.memory_fidelity``."""
