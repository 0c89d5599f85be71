"""Tokens: how they are made, kept apart by kind, told from forged ones, and written to files."""
