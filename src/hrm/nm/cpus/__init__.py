"""CPUs one by one: which are near each other, and which container has which of them.

Loaded by the shepherd: nothing here needs more than the standard library.
"""
