"""Speed: a server, what kernels reach on its GPU and a load in; how long users wait and what it puts out, out."""
