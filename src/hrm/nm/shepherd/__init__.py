"""The shepherd: one small process per node that forks every container, waits for it and writes down how it ended.

It outlives the server: NodeManagers come, go and reconnect over its Unix socket. Standard library only (it runs with
``python -I -S``), one thread, one epoll loop, no work while nothing happens.
"""
