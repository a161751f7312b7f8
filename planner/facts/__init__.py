"""Facts: catalog entries in; frozen facts about GPUs, checkpoints, their storage and their accuracy, out."""
