"""Whether containers are guaranteed or opportunistic, between YARN's words and the model's."""

from __future__ import annotations

from hrm.model.requests import ExecutionType
from hrm.yarn.proto import records_pb2 as records


def type_of(message: records.ExecutionTypeRequestProto) -> ExecutionType:
    """What a request asks for. Whether it insists (``enforce_execution_type``) is all the same: it gets no other."""
    return _MEANT[message.execution_type]


def message_of(execution_type: ExecutionType) -> records.ExecutionTypeProto:
    return _SAID[execution_type]


_MEANT = {
    records.GUARANTEED: ExecutionType.GUARANTEED,
    records.OPPORTUNISTIC: ExecutionType.OPPORTUNISTIC,
}
_SAID = {meant: said for said, meant in _MEANT.items()}
