"""Brings a directory to the server: its manifest, then what is not there yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hrm.files.scan import Scan
from hrm.model.errors import ClusterError
from hrm.model.reports import UploadReport
from hrm.sdk.transport import Transport, decoded

#: For the server to take or check a piece, on a slow disk.
_STEP_S = 120.0
#: Something else may have cleared away meanwhile what was there.
_TRIES = 3


def upload(transport: Transport, directory: Path, told: Callable[[UploadReport], None]) -> str:
    """See `hrm.sdk.client.Client.upload`."""
    scan = Scan(directory)
    body = {"manifest": scan.manifest.as_plain()}
    for _ in range(_TRIES):
        data = transport.call("POST", "/uploads", body=body, repeatable=True, timeout_s=_STEP_S)
        report = decoded(data, UploadReport)
        if report.missing:
            told(report)
            path = f"/uploads/{report.upload_id}/content"
            report = decoded(transport.send(path, scan.pack(report.missing), timeout_s=_STEP_S), UploadReport)
        if not report.missing:
            return report.upload_id
    raise ClusterError("the server does not keep what is uploaded", next_step="ask its operator to look at its disk")
