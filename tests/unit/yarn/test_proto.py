from __future__ import annotations

from importlib import import_module

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from hrm.testing.protos import FOLDER, descriptors, proto_files
from hrm.yarn.proto.records_pb2 import ApplicationACLMapProto


def test_generated_modules_are_made_of_the_proto_files_as_they_are_now() -> None:
    wanted = descriptors()

    kept = {
        name: FileDescriptorProto.FromString(import_module(f"hrm.yarn.proto.{name}_pb2").DESCRIPTOR.serialized_pb)
        for name in wanted
    }

    assert kept == wanted, "run python -m hrm.testing.protos"


def test_each_proto_file_has_its_module_and_no_module_is_left_over() -> None:
    assert sorted(path.name for path in FOLDER.glob("*_pb2.py")) == [f"{path.stem}_pb2.py" for path in proto_files()]


def test_a_default_that_is_a_blank_stays_one() -> None:
    # In Hadoop an empty access list is one blank: nobody.
    assert ApplicationACLMapProto().acl == " "
