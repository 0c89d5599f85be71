"""What all pages draw from: the facade, and what the server has seen of the last hour."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hrm.api.accounts import Accounts
from hrm.rm.facade import Facade
from hrm.web.samples import UsageLog
from hrm.web.weights import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """One for the server. ``clock`` gives epoch seconds."""

    facade: Facade
    accounts: Accounts = field(default_factory=Accounts)
    weights: Weights
    usage: UsageLog = field(default_factory=UsageLog)
    clock: Callable[[], float] = time.time
