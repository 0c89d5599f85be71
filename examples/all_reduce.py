"""A program of several processes that add up vectors together, as those do that train one model on many GPUs.

    hrm run --gang --tasks 4 --label -- python examples/all_reduce.py

Each process finds its rank and where to meet in its environment, as a program for `torchrun` would. The vectors go
around in a ring (reduce-scatter, then all-gather; Patarasuk and Yuan, JPDC'09): each process sends to the next rank and
receives from the one before, so that what one sends does not grow with the number of processes.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from array import array

STEPS = 5
WORDS = 100_000
PATIENCE_S = 120.0


def meet(rank: int, size: int) -> tuple[socket.socket, socket.socket]:
    """Connections from the process before and to the one after; rank 0 tells everybody where the others listen."""
    with socket.create_server(("", 0), backlog=size) as server:
        server.settimeout(PATIENCE_S)
        host = os.environ["HRM_HOSTS"].split(",")[rank]
        addresses = exchange(rank, size, f"{host}:{server.getsockname()[1]}")
        after_host, _, after_port = addresses[(rank + 1) % size].rpartition(":")
        after = socket.create_connection((after_host, int(after_port)), timeout=PATIENCE_S)
        before, _ = server.accept()
    for one in (before, after):
        one.settimeout(PATIENCE_S)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return before, after


def exchange(rank: int, size: int, mine: str) -> list[str]:
    """What each rank says, at MASTER_ADDR and MASTER_PORT."""
    port = int(os.environ["MASTER_PORT"])
    if rank == 0:
        with socket.create_server(("", port), backlog=size) as server:
            server.settimeout(PATIENCE_S)
            said = {0: mine}
            others = [server.accept()[0] for _ in range(size - 1)]
        for other in others:
            number, _, words = other.makefile().readline().strip().partition(" ")
            said[int(number)] = words
        addresses = [said[number] for number in range(size)]
        for other in others:
            with other:
                other.sendall((" ".join(addresses) + "\n").encode())
        return addresses
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            server = socket.create_connection((os.environ["MASTER_ADDR"], port), timeout=PATIENCE_S)
            break
        except ConnectionRefusedError:
            # Rank 0 may have begun a moment later.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    with server:
        server.sendall(f"{rank} {mine}\n".encode())
        return server.makefile().readline().split()


def send(to: socket.socket, numbers: array[float]) -> None:
    data = numbers.tobytes()
    to.sendall(struct.pack("!Q", len(data)) + data)


def receive(sender: socket.socket) -> array[float]:
    (length,) = struct.unpack("!Q", read(sender, 8))
    numbers = array("d")
    numbers.frombytes(read(sender, length))
    return numbers


def read(sender: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = sender.recv(min(length - len(data), 1 << 20))
        if not piece:
            raise ConnectionError("another process has ended")
        data += piece
    return bytes(data)


def all_reduce(vector: array[float], rank: int, size: int, before: socket.socket, after: socket.socket) -> None:
    """Put the sum over all processes in the place of each one's vector."""
    bounds = [len(vector) * number // size for number in range(size + 1)]

    def part(number: int) -> slice:
        return slice(bounds[number % size], bounds[number % size + 1])

    for step in range(size - 1):
        mine = part(rank - step - 1)
        came = pass_on(vector[part(rank - step)], rank, before, after)
        vector[mine] = array("d", map(sum, zip(vector[mine], came, strict=True)))
    for step in range(size - 1):
        vector[part(rank - step)] = pass_on(vector[part(rank + 1 - step)], rank, before, after)


def pass_on(numbers: array[float], rank: int, before: socket.socket, after: socket.socket) -> array[float]:
    """Send to the next rank; what came from the one before. Odd ranks receive first: if all sent, none would read."""
    if rank % 2:
        came = receive(before)
        send(after, numbers)
    else:
        send(after, numbers)
        came = receive(before)
    return came


def main() -> None:
    rank, size = int(os.environ["HRM_NODE_RANK"]), int(os.environ["HRM_GANG_SIZE"])
    before, after = meet(rank, size)
    for step in range(STEPS):
        vector = array("d", [float(rank + step)]) * WORDS
        all_reduce(vector, rank, size, before, after)
        expected = float(sum(range(size)) + step * size)
        if set(vector) != {expected}:
            sys.exit(f"rank {rank}: {vector[0]} instead of {expected}")
    print(f"rank {rank} of {size}: {STEPS} sums of {WORDS} numbers agree")


if __name__ == "__main__":
    main()
