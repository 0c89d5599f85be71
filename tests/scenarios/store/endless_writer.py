"""Submits from several tasks at once, without end; prints each sequence number once it is acknowledged."""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count
from pathlib import Path

from tests.scenarios.store.store_rows import opened, submission, task


async def main(directory: Path, tasks: int) -> None:
    store = opened(directory)
    seqs = count(1)

    async def submit() -> None:
        for seq in seqs:
            await store.commit([*submission(seq), *(task(seq, index) for index in range(tasks))])
            os.write(1, f"{seq}\n".encode())

    await asyncio.gather(*(submit() for _ in range(8)))


asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
