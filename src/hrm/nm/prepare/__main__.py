"""``python -I …/hrm/nm/prepare``: make the container what its launch context says, and become its program.

With an argument (`hrm.nm.prepare.contract`) it only fetches files, for a container that runs.
"""

from __future__ import annotations

import os
import sys

# What runs as a folder finds its own modules alone. Last in the path: the standard library comes first.
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))

import base64
import json
import shutil
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

from hrm.model.errors import HrmError
from hrm.model.hadoop_tokens import merged
from hrm.model.launch_contexts import HADOOP_CONF_VARIABLE, TOKENS_VARIABLE, LaunchContext, taken_from
from hrm.nm.prepare.cache import Cache
from hrm.nm.prepare.contract import APPLICATION_VARIABLE, CACHE_VARIABLE, CANNOT, LOCALIZE, PUBLIC_VARIABLE
from hrm.nm.prepare.errors import PrepareError
from hrm.nm.prepare.script import launch_script
from hrm.nm.shepherd import records

SCRIPT = "launch_container.sh"
TOKENS = "container_tokens"
LOGS = "logs"
HADOOP_CONF = "hadoop-conf"
_MAX_TOLD_CHARS = 800


def main() -> int:
    """Never returns if all is well."""
    environ = dict(os.environ)
    home = Path(environ["HRM_CONTAINER_DIR"])
    mode = sys.argv[1] if len(sys.argv) > 1 else ""
    if mode:
        return beside(mode, home, environ)
    try:
        context = taken_from(environ)
        os.chdir(home)
        (home / records.FAILURE).unlink(missing_ok=True)
        prepare(context, home, environ)
        os.execve("/bin/bash", ["/bin/bash", SCRIPT], environ)
    except (PrepareError, HrmError, OSError, ValueError) as error:
        told = f"the container could not be prepared: {error}"
        print(f"hrm: {told}", file=sys.stderr)  # noqa: T201
        (home / records.FAILURE).write_text(told, encoding="utf-8", errors="replace")
        return CANNOT


def beside(mode: str, home: Path, environ: MutableMapping[str, str]) -> int:
    """Fetch the files for a container that runs; where they are localized, say of each how that went."""
    try:
        context = taken_from(environ)
        public = json.loads(environ.pop(PUBLIC_VARIABLE, "{}"))
        cache = Cache(Path(environ.pop(CACHE_VARIABLE)), environ["HRM_APPLICATION_ID"])
        if mode == LOCALIZE:
            for link, why in localize(context, home, cache, public):
                print(json.dumps({"link": link, "failed": why} if why else {"link": link}), flush=True)  # noqa: T201
        else:
            for link, resource in context.local_resources.items():
                if link not in public:
                    cache.get(resource)
    except (PrepareError, HrmError, OSError, ValueError) as error:
        print(f"{error}"[:_MAX_TOLD_CHARS])  # noqa: T201
        return CANNOT
    return 0


def localize(context: LaunchContext, home: Path, cache: Cache, public: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Put each file into ``home``; its name, and why it is not there ("": it is).

    The locks of the cache end with this program, and the container lives on: it gets names of its own for the same
    contents. What has that name already stays, as with YARN.
    """
    for link, resource in context.local_resources.items():
        path = home / link
        why = ""
        try:
            if not os.path.lexists(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                if link in public:
                    path.symlink_to(public[link])
                else:
                    _link_into(cache.get(resource), path)
        except (PrepareError, HrmError, OSError, ValueError) as error:
            # Asked for twice at once, the other one may have brought it.
            if not os.path.lexists(path):
                why = f"{error}"[:_MAX_TOLD_CHARS] or type(error).__name__
        yield link, why


def _link_into(source: Path, path: Path) -> None:
    """``path`` is the same file, or a folder of the same files; it appears whole. Raises OSError."""
    if not source.is_dir():
        os.link(source, path)
        return
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        shutil.copytree(source, new, symlinks=True, copy_function=os.link)
        new.rename(path)
    except (OSError, shutil.Error):
        shutil.rmtree(new, ignore_errors=True)
        raise


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
    # The links to the streams are made before all else of a launch: there they are, it is not the first one.
    again = (home / LOGS / records.STREAMS[0]).is_symlink()
    for stream in records.STREAMS:
        # What a command writes to its log goes the way of all output: kept, limited and shown with it.
        _link(home / LOGS / stream, f"/dev/{stream}", again=again)
    cache = Cache(Path(cache_dir), environ["HRM_APPLICATION_ID"])
    cache.clean()
    for link, resource in context.local_resources.items():
        path = home / link
        path.parent.mkdir(parents=True, exist_ok=True)
        if not again and (path.exists() or path.is_symlink()):
            raise PrepareError(f"two things of the container are called {link!r:.80}")
        _link(path, public.get(link) or cache.get(resource), again=again)
    _write_private(home / TOKENS, merged(server_tokens, context.tokens))
    ours = _ours(home, shared, environ)
    conf = json.loads(environ.pop(HADOOP_CONF_VARIABLE, "{}"))
    if conf and "HADOOP_CONF_DIR" not in environ:
        # The machine has none, for want of a Hadoop.
        folder = home / HADOOP_CONF
        folder.mkdir(exist_ok=again)
        for name, text in conf.items():
            (folder / name).write_text(text, encoding="utf-8")
        ours["HADOOP_CONF_DIR"] = str(folder)
    (home / SCRIPT).write_text(launch_script(context, log_dir=str(home / LOGS), ours=ours), encoding="utf-8")


def _link(path: Path, target: Path | str, *, again: bool) -> None:
    """Of a launch after others, what was there before makes way, as with YARN. Raises PrepareError, OSError."""
    if again and os.path.lexists(path):
        if path.is_dir() and not path.is_symlink():
            raise PrepareError(f"the container has a folder that is called {path.name!r:.80} already")
        path.unlink()
    path.symlink_to(target)


def _write_private(path: Path, data: bytes) -> None:
    """For the user alone; what an earlier launch had there is gone."""
    path.unlink(missing_ok=True)
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
