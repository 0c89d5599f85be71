"""A program that runs in a container before its own: builds the Python environment that it wants, or finds it built.

It runs as the container's user, within the container's limits.
"""
