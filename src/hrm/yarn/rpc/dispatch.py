"""From a call's headers to the method that answers it, and from what goes wrong there to what a client is told."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import TypeVar

from google.protobuf.message import EncodeError, Message

from hrm.model.errors import HrmError, InvariantBroken
from hrm.yarn.errors import Retriable, Unsupported, YarnError, from_hrm
from hrm.yarn.proto.rpc_pb2 import RequestHeaderProto, RpcResponseHeaderProto
from hrm.yarn.rpc.faults import NO_SUCH_PROTOCOL, RPC_SERVER_EXCEPTION, VERSION_MISMATCH, RpcFault
from hrm.yarn.rpc.frames import parse
from hrm.yarn.rpc.hub import Route

logger = logging.getLogger(__name__)

#: Of all of YARN's protocols.
_PROTOCOL_VERSION = 1
M = TypeVar("M", bound=Message)


def route_of(header: RequestHeaderProto, routes: Mapping[str, Mapping[str, Route]]) -> Route:
    """Raises RpcFault where this server does not know what is asked for, YarnError where it has no answer to it."""
    protocol, method = header.declaringClassProtocolName, header.methodName
    methods = routes.get(protocol)
    if methods is None:
        raise _error(
            RpcResponseHeaderProto.ERROR_NO_SUCH_PROTOCOL,
            f"Unknown protocol: {protocol[:200]}",
            java_class=NO_SUCH_PROTOCOL,
        )
    if header.clientProtocolVersion != _PROTOCOL_VERSION:
        raise _error(
            RpcResponseHeaderProto.ERROR_RPC_VERSION_MISMATCH,
            f"Protocol {protocol} version mismatch. (client = {header.clientProtocolVersion}, "
            f"server = {_PROTOCOL_VERSION})",
            java_class=VERSION_MISMATCH,
        )
    route = methods.get(method)
    if route is None or route.handler is None:
        raise Unsupported(f"{method[:200]} of {protocol} is not supported by this server (HRM)")
    return route


def request_of(kind: type[M], data: bytes) -> M:
    """Raises RpcFault that ends the call, not the connection: the frame around it was sound."""
    try:
        return parse(kind, data)
    except RpcFault as fault:
        raise _error(RpcResponseHeaderProto.ERROR_RPC_SERVER, str(fault), java_class=RPC_SERVER_EXCEPTION) from None


def payload_of(response: Message, route: Route, *, max_bytes: int) -> bytes:
    """Raises RpcFault for what cannot be sent."""
    try:
        payload = response.SerializeToString()
    except EncodeError as error:
        raise _error(
            RpcResponseHeaderProto.ERROR_SERIALIZING_RESPONSE,
            f"{route.method.name}: {error}",
            java_class=RPC_SERVER_EXCEPTION,
        ) from None
    if len(payload) > max_bytes:
        raise _error(
            RpcResponseHeaderProto.ERROR_SERIALIZING_RESPONSE,
            f"the answer to {route.method.name} has {len(payload)} bytes, and {max_bytes} are allowed: ask for less",
            java_class=RPC_SERVER_EXCEPTION,
        )
    return payload


def fault_of(error: Exception, method: str) -> RpcFault:
    """What the client is told of what a handler raised. The unforeseen gets an id and no internals."""
    if isinstance(error, RpcFault):
        return error
    if isinstance(error, HrmError) and not isinstance(error, InvariantBroken):
        error = from_hrm(error)
    if not isinstance(error, YarnError):
        incident = secrets.token_hex(6)
        logger.error("incident %s: %s", incident, method, exc_info=error)
        error = YarnError(f"the server failed to answer (incident {incident}); its log says more under that id")
    code = RpcResponseHeaderProto.ERROR_APPLICATION
    if isinstance(error, Unsupported):
        code = RpcResponseHeaderProto.ERROR_NO_SUCH_METHOD
    return _error(code, str(error), java_class=error.java_class)


def too_long(method: str, timeout_s: float) -> RpcFault:
    """What the client of a call is told that was given up."""
    return fault_of(Retriable(f"{method} was not done within {timeout_s:g} s"), method)


def _error(code: int, message: str, *, java_class: str) -> RpcFault:
    return RpcFault(code, message, java_class=java_class, fatal=False)
