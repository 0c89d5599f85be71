"""The files that Hadoop's clients read to find a ResourceManager: what stands in ``$HADOOP_CONF_DIR``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from hrm.model.errors import ClusterError

#: How long a client tries to reach a server that is not there; Hadoop's own is 15 minutes.
CONNECT_MAX_WAIT_MS = 60_000


def client_files(
    facts: Mapping[str, str], *, classpath: str = "", node_memory_mib: int = 0, homes: str = ""
) -> dict[str, str]:
    """By file name. ``facts`` are what the server says: ``host:port`` of ``clients``, ``masters`` and ``web``, and
    ``max_attempts``; and ``shuffle_port``, where nodes run Spark's shuffle service.

    ``classpath`` is where applications find Hadoop's classes, for those that bring none (Flink); without it that
    of the facts counts. ``node_memory_mib`` is what the largest node has, for clients that look it up here; 0 iff
    nobody knows. ``homes`` is the folder in which users' homes lie, under their names; "" iff they lie elsewhere.
    """
    classpath = classpath or facts.get("classpath", "")
    host = facts["clients"].rpartition(":")[0].strip("[]")
    yarn = {
        "yarn.resourcemanager.hostname": host,
        "yarn.resourcemanager.address": facts["clients"],
        "yarn.resourcemanager.scheduler.address": facts["masters"],
        "yarn.resourcemanager.admin.address": facts["clients"],
        "yarn.resourcemanager.webapp.address": facts["web"],
        "yarn.resourcemanager.connect.max-wait.ms": str(CONNECT_MAX_WAIT_MS),
        # By this masters know whether they are the last: only then their failure is the application's end.
        "yarn.resourcemanager.am.max-attempts": facts["max_attempts"],
        "yarn.timeline-service.enabled": "false",
        "yarn.log-aggregation-enable": "false",
        # There the logs of what is over are shown in the form in which YARN's own are gathered.
        "yarn.nodemanager.remote-app-log-dir": f"webhdfs://{facts['web']}/logs",
        # Where Spark's programs look for its port, unless their own configuration says it.
        **({"spark.shuffle.service.port": facts["shuffle_port"]} if facts.get("shuffle_port") else {}),
        # These files are among what applications find.
        **({"yarn.nodemanager.resource.memory-mb": str(node_memory_mib)} if node_memory_mib else {}),
        **({"yarn.application.classpath": f"$HADOOP_CONF_DIR,{classpath}"} if classpath else {}),
    }
    core = {
        "fs.defaultFS": "file:///",
        # The same under a name that has a host, for programs that take file:/// for no file system at all (Skein).
        "fs.viewfs.mounttable.hrm.linkFallback": "file:///",
        # There programs put what they bring along. Hadoop's own is /user, which only root could make on most machines.
        **({"fs.viewfs.mounttable.hrm.homedir": homes} if homes else {}),
        "hadoop.security.authentication": "simple",
    }
    # Without it clients drop GPUs from what they ask for, with a warning.
    types = {"yarn.resource-types": "yarn.io/gpu"}
    return {
        "core-site.xml": _document(core),
        "yarn-site.xml": _document(yarn),
        "resource-types.xml": _document(types),
    }


def write_client_files(folder: Path, files: Mapping[str, str]) -> None:
    """Into ``folder``, which is made where it is missing; other files there stay. Raises ClusterError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            path = folder / name
            # A client may be reading the old one.
            new = path.with_name(f".{name}.new")
            new.write_text(text, encoding="utf-8")
            new.replace(path)
    except OSError as error:
        raise ClusterError(
            f"cannot write {error.filename or folder}: {error.strerror}", next_step="name another with --dir"
        ) from None


def _document(properties: Mapping[str, str]) -> str:
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<configuration>"]
    for name, value in properties.items():
        lines += [
            "  <property>",
            f"    <name>{escape(name)}</name>",
            f"    <value>{escape(value)}</value>",
            "  </property>",
        ]
    return "\n".join([*lines, "</configuration>", ""])
