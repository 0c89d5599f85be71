"""What the node and the program that prepares a container agree on."""

from __future__ import annotations

#: Where its user's copies of files are.
CACHE_VARIABLE = "HRM_CACHE_DIR"
#: Of what is PUBLIC, by name as JSON: where the node has copies for all users.
PUBLIC_VARIABLE = "HRM_PUBLIC_COPIES"
#: Where its application's directory on the node is.
APPLICATION_VARIABLE = "HRM_APPLICATION_DIR"
#: Exit code where the container could not be prepared: its surroundings are at fault, as a shell says it.
CANNOT = 126
#: Its argument, for a container that runs: only fetch the files, so that they are there for what is to follow …
FETCH = "fetch"
#: … or bring them into the container's directory, and say of each how that went, as JSON on a line of stdout.
LOCALIZE = "localize"
