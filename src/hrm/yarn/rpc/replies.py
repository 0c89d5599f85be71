"""What a server says: frames with the header that repeats by what the client numbers its calls."""

from __future__ import annotations

from hrm.yarn.proto.rpc_pb2 import RpcRequestHeaderProto, RpcResponseHeaderProto
from hrm.yarn.rpc import frames
from hrm.yarn.rpc.faults import RpcFault

_MAX_ERROR_CHARS = 16 << 10
#: Numbers of calls travel here without a sign.
_UNSIGNED = 0xFFFFFFFF


def answer(header: RpcRequestHeaderProto, payload: bytes) -> bytes:
    """A whole frame: the call was done, and this is its response."""
    reply = RpcResponseHeaderProto(
        callId=header.callId & _UNSIGNED,
        status=RpcResponseHeaderProto.SUCCESS,
        serverIpcVersionNum=frames.VERSION,
        clientId=header.clientId,
        retryCount=header.retryCount,
    )
    return frames.pack(reply.SerializeToString(), payload)


def refusal(header: RpcRequestHeaderProto | None, fault: RpcFault) -> bytes:
    """A whole frame: the call was not done, or (without a header) no call could be made out."""
    reply = RpcResponseHeaderProto(
        callId=(frames.NO_CALL_ID if header is None else header.callId) & _UNSIGNED,
        status=RpcResponseHeaderProto.FATAL if fault.fatal else RpcResponseHeaderProto.ERROR,
        serverIpcVersionNum=frames.VERSION,
        exceptionClassName=fault.java_class,
        errorMsg=str(fault)[:_MAX_ERROR_CHARS].encode("utf-8", "replace").decode("utf-8"),
        errorDetail=RpcResponseHeaderProto.RpcErrorCodeProto.Name(fault.code),
        clientId=b"" if header is None else header.clientId,
        retryCount=-1 if header is None else header.retryCount,
    )
    return frames.pack(reply.SerializeToString())
