"""What the operator says of files: how much may be uploaded, and how much of it is kept where."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSettings:
    """Sizes are bytes."""

    #: Of one upload, as it is unpacked.
    max_upload_bytes: int = 1 << 30
    #: Of all that one user's uploads keep at the server.
    upload_quota_bytes: int = 10 << 30
    #: Of uploads that each node keeps beside those that are being unpacked.
    node_cache_bytes: int = 10 << 30
