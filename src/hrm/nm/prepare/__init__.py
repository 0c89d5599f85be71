"""Prepares a container from within, as its user: files, tokens, variables; then it becomes the container's program.

``python -I …/hrm/nm/prepare`` is what the node runs for a launch with a context (`hrm.model.launch_contexts`). Nothing
here is done with the server's rights: what the user may not read, the container does not get. Standard library only,
but for file systems that fsspec knows.
"""
