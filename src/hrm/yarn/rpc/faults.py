"""What goes wrong below the methods: with frames, headers and authentication. Most end the connection."""

from __future__ import annotations

from hrm.yarn.proto.rpc_pb2 import RpcResponseHeaderProto

RPC_SERVER_EXCEPTION = "org.apache.hadoop.ipc.RpcServerException"
FATAL_RPC_SERVER_EXCEPTION = "org.apache.hadoop.ipc.Server$FatalRpcServerException"
NO_SUCH_PROTOCOL = "org.apache.hadoop.ipc.RpcNoSuchProtocolException"
VERSION_MISMATCH = "org.apache.hadoop.ipc.RPC$VersionMismatch"
IPC_EXCEPTION = "org.apache.hadoop.ipc.IpcException"
SASL_EXCEPTION = "javax.security.sasl.SaslException"
ACCESS_CONTROL = "org.apache.hadoop.security.AccessControlException"
AUTHORIZATION = "org.apache.hadoop.security.authorize.AuthorizationException"


class RpcFault(Exception):
    """An answer that no method gave. A ``fatal`` one is the connection's last.

    ``code`` is one of Hadoop's RpcErrorCodeProto.
    """

    def __init__(self, code: int, message: str, *, java_class: str, fatal: bool) -> None:
        super().__init__(message)
        self.code = code
        self.java_class = java_class
        self.fatal = fatal


def bad_header(message: str) -> RpcFault:
    """The client does not keep to the protocol."""
    return RpcFault(
        RpcResponseHeaderProto.FATAL_INVALID_RPC_HEADER, message, java_class=FATAL_RPC_SERVER_EXCEPTION, fatal=True
    )


def unreadable(what: str) -> RpcFault:
    """Bytes that are not the message they should be."""
    return RpcFault(
        RpcResponseHeaderProto.FATAL_DESERIALIZING_REQUEST,
        f"cannot read {what}",
        java_class=FATAL_RPC_SERVER_EXCEPTION,
        fatal=True,
    )


def unauthorized(message: str, *, java_class: str = ACCESS_CONTROL) -> RpcFault:
    """Who is calling may not come in."""
    return RpcFault(RpcResponseHeaderProto.FATAL_UNAUTHORIZED, message, java_class=java_class, fatal=True)
