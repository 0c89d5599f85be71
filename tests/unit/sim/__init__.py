"""The simulator's parts, each alone."""
