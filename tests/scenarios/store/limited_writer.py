"""Submits until files may not grow any more, then lifts the limit and goes on.

Prints how many submissions were acknowledged, refused, and acknowledged after the limit was lifted.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from itertools import count
from pathlib import Path

from hrm.model.errors import StoreError
from tests.scenarios.store.store_rows import opened, submission


async def main(directory: Path) -> None:
    store = opened(directory)
    acknowledged, refused, after = 0, 0, 0
    for seq in count(1):
        try:
            await store.commit(submission(seq, message="x" * 1000), must=False)
            acknowledged += 1
        except StoreError:
            refused += 1
            if refused == 3:
                break
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for further in range(1, 11):
        await store.commit(submission(seq + further), must=False)
        after += 1
    await store.close()
    sys.stdout.write(f"{acknowledged} {refused} {after}\n")


asyncio.run(main(Path(sys.argv[1])))
