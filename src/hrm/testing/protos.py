"""Makes the modules in `hrm.yarn.proto` of the ``.proto`` files there: ``python -m hrm.testing.protos``.

It needs grpcio-tools, which brings protoc. A test compares what is kept with what the files say now.
"""

from __future__ import annotations

import re
import tempfile
from importlib.resources import files
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

FOLDER = Path(str(files("hrm.yarn.proto")))
SOURCES = FOLDER.parents[2]
#: Generated modules refuse a runtime that is older than the generator, or much newer. What they use has been there
#: since protobuf 4.25, and other packages of the same environment have their own wishes.
_RUNTIME_CHECK = re.compile(
    r"^from google\.protobuf import runtime_version as _runtime_version\n"
    r"|^_runtime_version\.ValidateProtobufRuntimeVersion\(\n(?:    .*\n)+\)\n"
    r"|^# Protobuf Python Version: .*\n",
    re.M,
)


def proto_files() -> list[Path]:
    return sorted(FOLDER.glob("*.proto"))


def descriptors() -> dict[str, FileDescriptorProto]:
    """What the ``.proto`` files say now, by their names."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "set")
        _protoc(f"--descriptor_set_out={kept}")
        found = FileDescriptorSet.FromString(kept.read_bytes())
    for file in found.file:
        for message in file.message_type:
            _forget_json_names(message)
    return {Path(file.name).stem: file for file in found.file}


def _forget_json_names(message: DescriptorProto) -> None:
    """Names that protoc adds to what it writes down, and not to what it generates."""
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        _forget_json_names(nested)


def generate() -> None:
    """Write the modules, and the stubs that mypy reads."""
    _protoc(f"--python_out={SOURCES}", f"--pyi_out={SOURCES}")
    for module in FOLDER.glob("*_pb2.py"):
        module.write_text(_RUNTIME_CHECK.sub("", module.read_text(encoding="utf-8")), encoding="utf-8")


def _protoc(*options: str) -> None:
    status = protoc.main(["protoc", f"-I{SOURCES}", *options, *map(str, proto_files())])
    if status != 0:
        raise RuntimeError(f"protoc ended with {status}")


if __name__ == "__main__":
    generate()
