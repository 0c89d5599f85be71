"""What must hold whatever happens, one checker in a module of its own. They look on while a simulation runs.

Most keep books of their own, from events and commands alone: so they find what the scheduler's books would hide.
"""
