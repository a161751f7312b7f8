"""Tensors: what a model keeps on one rank, weights and KV cache, byte by byte as the engine lays them out."""
