"""The ResourceManager: the loop that owns the state, life cycles, the store, recovery, and the facade for all doors."""
