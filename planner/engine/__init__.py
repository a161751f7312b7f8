"""Engine: a version in; what that version of vLLM costs, assumes, accepts and chooses by itself, out."""
