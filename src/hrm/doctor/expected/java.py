"""What is expected of Java and its native libraries."""

from __future__ import annotations

from dataclasses import dataclass

from hrm.doctor.expected.about import about


@dataclass(frozen=True, slots=True, kw_only=True)
class JavaExpected:
    """The section `doctor.java` of ``hrm.yaml``."""

    version: str | None = about("The Java that programs need: 8, or 11+ for 11 and newer, or exactly 1.8.0_201.", None)
    home: str | None = about("What JAVA_HOME is to be.", None)
    files: tuple[str, ...] = about("Files that set JAVA_HOME besides those of the system, like hadoop-env.sh.", ())
    libraries: tuple[str, ...] = about("Native libraries that Java programs load, by their whole paths.", ())
    library_path: tuple[str, ...] = about("What those programs have in LD_LIBRARY_PATH.", ())
