"""Scripts that run in another tool's environment: rows as JSON on stdin, its answers as JSON on stdout.

They import nothing of this project. Exit code 3: the tool is not installed there. Each case has ``model``, ``folder``
(with its config.json), ``parameters``, ``gpu``, ``memory_gib``, ``utilization``, ``ranks``, ``context``, ``sequences``
and ``batched_tokens``; each answer is the size of the KV cache in tokens, or null.
"""
