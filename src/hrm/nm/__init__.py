"""The NodeManager: one machine's containers, started by its shepherd, measured, read and reported."""
