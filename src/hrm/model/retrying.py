"""When a program that failed is started again in its own container (YARN's ContainerRetryContext)."""

from __future__ import annotations

from dataclasses import dataclass

#: `RetryPolicy.max_retries`: as often as it fails (YARN's RETRY_FOREVER).
FOREVER = -1
#: Exit codes that are nobody's failure: success, and those of KILL and TERM (YARN never starts these again).
NEVER_RETRIED = frozenset({0, 137, 143})
#: The least time between two launches (YARN's container-retry.minimum-interval-ms).
MIN_RETRY_INTERVAL_S = 1.0
#: Exit codes that a policy may name.
MAX_CODES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a program that failed is started again in its container (YARN's ContainerRetryContext).

    One that was told to end, that had more memory than it may, or that ended for others is not.
    """

    #: On these exit codes; None iff on all that `NEVER_RETRIED` does not name.
    exit_codes: frozenset[int] | None = None
    max_retries: int = FOREVER
    #: Between an end and the next beginning.
    interval_s: float = MIN_RETRY_INTERVAL_S
    #: Only retries of the last so many seconds count; None iff all of them.
    validity_s: float | None = None
