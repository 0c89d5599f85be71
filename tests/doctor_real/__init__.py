"""The doctor and real components: what breaks them, and whether it is found."""
