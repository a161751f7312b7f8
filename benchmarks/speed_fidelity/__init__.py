"""How close the speed model comes to what real servers were measured at: ``python -m benchmarks.speed_fidelity``."""
