"""What a client of YARN says of its application that no other job has (YARN's ApplicationSubmissionContext)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hrm.model.errors import InvalidInput, TooLarge

#: As long as YARN lets a type be (YarnConfiguration.APPLICATION_TYPE_LENGTH).
MAX_TYPE_CHARS = 20
MAX_TAGS = 100
MAX_TAG_CHARS = 100
MAX_CONTEXT_BYTES = 64 << 10
#: Hadoop's word for an access list that names everybody.
EVERYBODY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class YarnApplication:
    """What is fetched and run for its master stands in the job's group; this is all else."""

    application_type: str = "YARN"
    tags: tuple[str, ...] = ()
    #: True iff its master runs somewhere else and has no container.
    unmanaged: bool = False
    #: A serialized LogAggregationContextProto; empty iff none was given.
    log_context: bytes = b""
    #: Seconds after its submission at which it is ended; None iff it may live for ever.
    lifetime_s: float | None = None
    #: Who besides its owner may look at it and may change it: ``ada,bob staff`` (users, groups) or ``*``.
    view_acl: str = ""
    modify_acl: str = ""

    def __post_init__(self) -> None:
        if len(self.application_type) > MAX_TYPE_CHARS:
            raise InvalidInput(
                f"longer than {MAX_TYPE_CHARS} characters: {self.application_type!r:.80}", field="application_type"
            )
        if len(self.tags) > MAX_TAGS or any(len(tag) > MAX_TAG_CHARS for tag in self.tags):
            raise InvalidInput(f"more than {MAX_TAGS}, or longer than {MAX_TAG_CHARS} characters", field="tags")
        if len(self.log_context) > MAX_CONTEXT_BYTES:
            raise TooLarge(f"log_context: larger than {MAX_CONTEXT_BYTES} bytes", next_step="use shorter patterns")
        if self.lifetime_s is not None and not (self.lifetime_s > 0 and math.isfinite(self.lifetime_s)):
            raise InvalidInput(f"must be above zero and finite: {self.lifetime_s}", field="lifetime_s")

    def may_view(self, user: str, groups: frozenset[str] = frozenset()) -> bool:
        """True iff its view ACL names the user, or a group of theirs."""
        return _names(self.view_acl, user, groups)

    def may_modify(self, user: str, groups: frozenset[str] = frozenset()) -> bool:
        """The same of its modify ACL."""
        return _names(self.modify_acl, user, groups)


def _names(acl: str, user: str, groups: frozenset[str]) -> bool:
    if acl.strip() == EVERYBODY:
        return True
    # What stands before the first blank are users, so " staff" names a group alone.
    users, _, named = acl.partition(" ")
    return user in users.split(",") or any(group in groups for group in named.strip().split(","))
