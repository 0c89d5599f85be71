"""The scheduler: pure, synchronous, deterministic. No clock, I/O, thread, logger or random source."""
