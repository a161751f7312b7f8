"""The only room that imports the solver."""
