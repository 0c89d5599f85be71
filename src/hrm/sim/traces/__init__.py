"""Readers of traces that others publish, each form in a module of its own."""
