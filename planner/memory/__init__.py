"""How many bytes an engine needs and what it will log: pure integer arithmetic, no I/O."""
