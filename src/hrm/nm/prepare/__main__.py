"""``python -I …/hrm/nm/prepare``: make the container what its launch context says, and become its program."""

from __future__ import annotations

import os
import sys

# What runs as a folder finds its own modules alone. Last in the path: the standard library comes first.
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))

import base64
import json
import shutil
from collections.abc import MutableMapping
from pathlib import Path

from hrm.model.errors import HrmError
from hrm.model.hadoop_tokens import merged
from hrm.model.launch_contexts import HADOOP_CONF_VARIABLE, TOKENS_VARIABLE, LaunchContext, taken_from
from hrm.nm.prepare.cache import Cache
from hrm.nm.prepare.contract import APPLICATION_VARIABLE, CACHE_VARIABLE, CANNOT, PUBLIC_VARIABLE
from hrm.nm.prepare.errors import PrepareError
from hrm.nm.prepare.script import launch_script
from hrm.nm.shepherd import records

SCRIPT = "launch_container.sh"
TOKENS = "container_tokens"
LOGS = "logs"
HADOOP_CONF = "hadoop-conf"


def main() -> int:
    """Never returns if all is well."""
    environ = dict(os.environ)
    home = Path(environ["HRM_CONTAINER_DIR"])
    try:
        context = taken_from(environ)
        os.chdir(home)
        prepare(context, home, environ)
        os.execve("/bin/bash", ["/bin/bash", SCRIPT], environ)
    except (PrepareError, HrmError, OSError, ValueError) as error:
        told = f"the container could not be prepared: {error}"
        print(f"hrm: {told}", file=sys.stderr)  # noqa: T201
        (home / records.FAILURE).write_text(told, encoding="utf-8", errors="replace")
        return CANNOT


def prepare(context: LaunchContext, home: Path, environ: MutableMapping[str, str]) -> None:
    """Put everything into ``home``, the container's own directory. Raises PrepareError, HrmError, OSError.

    ``environ`` is what the node gave; what is only for this program is taken out of it.
    """
    server_tokens = base64.b64decode(environ.pop(TOKENS_VARIABLE, ""))
    cache_dir = environ.pop(CACHE_VARIABLE)
    public = json.loads(environ.pop(PUBLIC_VARIABLE, "{}"))
    shared = environ.pop(APPLICATION_VARIABLE)
    if not os.access(shared, os.W_OK | os.X_OK):
        raise PrepareError(f"the node has no directory for its application: {shared}")
    for name in ("tmp", LOGS):
        (home / name).mkdir(exist_ok=True)
    for stream in records.STREAMS:
        # What a command writes to its log goes the way of all output: kept, limited and shown with it.
        (home / LOGS / stream).symlink_to(f"/dev/{stream}")
    cache = Cache(Path(cache_dir), environ["HRM_APPLICATION_ID"])
    cache.clean()
    for link, resource in context.local_resources.items():
        path = home / link
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() or path.is_symlink():
            raise PrepareError(f"two things of the container are called {link!r:.80}")
        path.symlink_to(public.get(link) or cache.get(resource))
    _write_private(home / TOKENS, merged(server_tokens, context.tokens))
    ours = _ours(home, shared, environ)
    conf = json.loads(environ.pop(HADOOP_CONF_VARIABLE, "{}"))
    if conf and "HADOOP_CONF_DIR" not in environ:
        # The machine has none, for want of a Hadoop.
        folder = home / HADOOP_CONF
        folder.mkdir()
        for name, text in conf.items():
            (folder / name).write_text(text, encoding="utf-8")
        ours["HADOOP_CONF_DIR"] = str(folder)
    (home / SCRIPT).write_text(launch_script(context, log_dir=str(home / LOGS), ours=ours), encoding="utf-8")


def _write_private(path: Path, data: bytes) -> None:
    """For the user alone."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(data)


def _ours(home: Path, shared: str, environ: MutableMapping[str, str]) -> dict[str, str]:
    ours = {
        "CONTAINER_ID": environ["HRM_CONTAINER_ID"],
        "HADOOP_TOKEN_FILE_LOCATION": str(home / TOKENS),
        "LOCAL_DIRS": shared,
        "LOG_DIRS": str(home / LOGS),
        "LOGNAME": environ.get("LOGNAME", ""),
        "PWD": str(home),
        "USER": environ.get("USER", ""),
    }
    if "JAVA_HOME" not in environ and (java := shutil.which("java", path=environ.get("PATH"))):
        # Programs for YARN run $JAVA_HOME/bin/java.
        ours["JAVA_HOME"] = str(Path(java).resolve().parent.parent)
    return ours


if __name__ == "__main__":
    sys.exit(main())
