"""The engine `ray`: machines of a Ray cluster, with a NodeManager in an actor on each.

``agent`` is what runs on each machine and ``link`` the server's end of the line to one; neither knows Ray. ``cluster``
asks Ray for machines, room and actors; ``engine`` puts them together. ``member`` keeps a machine in the cluster.
"""
