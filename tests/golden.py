"""Outputs that are kept in files and compared.

`HRM_UPDATE_GOLDEN=1 pytest …` writes them anew; `git diff` shows what that changed.
"""

from __future__ import annotations

import os
from pathlib import Path


def compare(golden: Path, text: str) -> None:
    """The text is what the file says. With HRM_UPDATE_GOLDEN set the file is written instead."""
    if os.environ.get("HRM_UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    kept = golden.read_text(encoding="utf-8") if golden.exists() else ""
    assert text == kept, f"{golden.name} differs; if that is wanted: HRM_UPDATE_GOLDEN=1"
