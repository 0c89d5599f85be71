"""Hadoop's RPC, version 9, as a server on asyncio: frames, authentication, calls and their limits."""
