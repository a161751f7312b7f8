"""Logs: what vLLM printed in; what it started with, every memory figure in it and what failed, out.

``lines`` takes off what containers and journals put around a line, ``figures`` reads what start-ups print, ``causes``
has the forms of the lines that decide, and ``diagnosis`` follows every server of a log from its first line to its last.
"""
