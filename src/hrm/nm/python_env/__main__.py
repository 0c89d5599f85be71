"""``python -I …/hrm/nm/python_env PROGRAM ARGUMENT…``: have the environment, and become the program in it."""

from __future__ import annotations

import os
import sys

# What runs as a folder finds its own modules alone. Last in the path: the standard library comes first.
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))

from pathlib import Path

from hrm.model.errors import HrmError
from hrm.model.python_envs import taken_from
from hrm.nm.prepare.contract import CACHE_VARIABLE, CANNOT
from hrm.nm.python_env.building import BuildError, Environments
from hrm.nm.shepherd import records

_NOT_FOUND = 127


def main(argv: list[str]) -> int:
    """Never returns if all is well."""
    environ = dict(os.environ)
    home = Path(environ["HRM_CONTAINER_DIR"])
    try:
        order = taken_from(environ)
        environments = Environments(Path(environ.pop(CACHE_VARIABLE)) / "python", environ)
        folder = environments.get(order)
    except (BuildError, HrmError, OSError, ValueError) as error:
        told = f"its Python environment could not be built: {error}"
        print(f"hrm: {told}", file=sys.stderr)  # noqa: T201
        (home / records.FAILURE).write_text(told, encoding="utf-8", errors="replace")
        return CANNOT
    environ["VIRTUAL_ENV"] = str(folder)
    environ["PATH"] = f"{folder}/bin:{environ.get('PATH', os.defpath)}"
    environ.pop("PYTHONHOME", None)
    try:
        os.execvpe(argv[0], argv, environ)
    except FileNotFoundError:
        print(f"hrm: command not found: {argv[0]}", file=sys.stderr)  # noqa: T201
        return _NOT_FOUND
    except OSError as error:
        print(f"hrm: not executable: {argv[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return CANNOT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
