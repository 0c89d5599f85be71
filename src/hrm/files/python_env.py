"""Reads what a job's Python environment is to be from the files that say so."""

from __future__ import annotations

from pathlib import Path

from hrm.model.errors import InvalidInput
from hrm.model.python_envs import LOCK, PROJECT, REQUIREMENTS, PythonEnv


def read_python_env(path: Path) -> PythonEnv:
    """Of a ``pyproject.toml`` or ``uv.lock`` (the two belong together), or any other file as ``requirements.txt``.

    Raises InvalidInput and TooLarge.
    """
    if path.name == LOCK:
        path = path.with_name(PROJECT)
    if path.name != PROJECT:
        return PythonEnv(files={REQUIREMENTS: _text(path)})
    lock = path.with_name(LOCK)
    files = {PROJECT: _text(path)}
    return PythonEnv(files={**files, LOCK: _text(lock)} if lock.exists() else files)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is not UTF-8", field="python_env") from None
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read: {error.strerror}",
            field="python_env",
            next_step="name requirements.txt, or pyproject.toml",
        ) from None
