"""One file for each provider: build its request, parse its answer and its stream. Pure functions, without I/O."""
