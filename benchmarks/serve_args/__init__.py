"""Whether the real engine takes every command line that the artifacts start it with, and the record of its answers."""
