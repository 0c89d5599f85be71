"""The shepherd's own words: ``shepherd.log``, which is its standard error."""

from __future__ import annotations

import os
import sys
import time
import traceback

_MAX_BYTES = 1 << 20


def log(message: str) -> None:
    """One line for the operator. A log that has grown too long begins anew."""
    try:
        if os.fstat(2).st_size > _MAX_BYTES:
            os.ftruncate(2, 0)
        sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {message}\n")
        sys.stderr.flush()
    except OSError:
        # A full disk must not end the shepherd, and there is nowhere else to say so.
        pass


def log_bug() -> None:
    """The exception that is being handled, as a bug of ours."""
    log(f"a bug: {traceback.format_exc()}")
