"""The doctor: small checks that find a node's faults, say why they matter, and know the commands that cure them.

Each check reads the machine through a `hrm.doctor.system.System` and nothing else, so that it runs as well on evidence
that was recorded elsewhere. The room uses the standard library only (msgspec where reports are read and written): a
quick round is a process of its own on every node, again and again.
"""
