"""What the node and the program that prepares a container agree on."""

from __future__ import annotations

#: Where its user's copies of files are.
CACHE_VARIABLE = "HRM_CACHE_DIR"
#: Exit code where the container could not be prepared: its surroundings are at fault, as a shell says it.
CANNOT = 126
