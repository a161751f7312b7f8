"""Adopt: files that start vLLM today in; the servers they start, what the engine gets and what is not known, out.

``files`` says what kind a file is and asks its reader (``shell``, ``compose``, ``systemd``, ``kubernetes`` …); readers
yield command lines, ``launch`` finds the engine in them, and ``arguments`` reads its flags as the engine's parser does.
"""
