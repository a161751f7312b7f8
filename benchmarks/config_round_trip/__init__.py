"""Whether a config that transformers wrote again is sized as the one that was published."""
