"""How long this build takes beside an older one: `python -m benchmarks.speed_ratio OLD`."""
