"""The optional libraries that detection needs, and a clear word when they are missing."""

from __future__ import annotations

from importlib.util import find_spec

from hrm.model.errors import CallerError

_NEEDED = {"httpx": "httpx", "numpy": "numpy", "onnx": "onnx", "onnxruntime": "onnxruntime", "PIL": "pillow"}


class MissingExtra(CallerError):
    """HRM was installed without the libraries that detection needs."""

    code = "missing_extra"


def require_extra() -> None:
    """Raise MissingExtra, naming what is missing, unless all that detection imports is installed."""
    missing = [package for module, package in _NEEDED.items() if find_spec(module) is None]
    if missing:
        raise MissingExtra(
            f"detection needs {', '.join(missing)}, which this Python does not have",
            next_step="pip install 'hrm[detect]'",
        )
