"""Tensors: an architecture in; the weights and KV cache one rank keeps, byte by byte as the engine does, out."""
