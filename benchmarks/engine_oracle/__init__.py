"""Compares weights and KV cache layouts with what the real engine answers, to the byte. See README.md."""
