"""Ray as it is imported here, and its token: whoever has that may do everything in the cluster."""

from __future__ import annotations

import os
import socket
import ssl

from hrm.model.errors import ClusterError, Unauthenticated

_ANSWER_S = 5.0


#: How Ray is to behave in our process. It reads this when it is imported.
_ENVIRONMENT = {
    "RAY_grpc_client_keepalive_timeout_ms": "3000",
    # What is said after the end is not to begin anew.
    "RAY_ENABLE_AUTO_CONNECT": "0",
}
#: How often a connection on which nothing is said is tried. Ray's servers hang up on whoever tries more often than they
#: do themselves (or than each minute, whichever is more often), with whatever is under way: "too_many_pings".
_KEEPALIVE = "RAY_grpc_client_keepalive_time_ms"
_OURS_MS, _OTHERS_MS = 3_000, 70_000
#: For Ray's processes that we start: less than what we do, as what is late comes in bursts.
SERVERS_KEEPALIVE = {_KEEPALIVE: "2000"}


def require_ray(*, ours: bool = False) -> None:
    """Import Ray, set up as we want it. Raises ClusterError where it is not installed.

    ``ours``: its cluster was started by `hrm.engines.ray.member`. Then connections that died silently are noticed in
    seconds, and made anew when the network is back. The first call in a process counts.
    """
    for name, value in {**_ENVIRONMENT, _KEEPALIVE: str(_OURS_MS if ours else _OTHERS_MS)}.items():
        os.environ.setdefault(name, value)
    try:
        import ray  # noqa: F401
    except ImportError:
        raise ClusterError(
            "the engine ray needs Ray, which is not installed here",
            next_step="pip install 'hrm[ray]' (the same version of Ray on every machine)",
        ) from None


def speaks_tls(address: str) -> bool:
    """True iff what answers there wants TLS. Raises OSError where nothing does."""
    host, _, port = address.rpartition(":")
    asking = ssl.create_default_context()
    # Whose it is, is seen to by Ray.
    asking.check_hostname = False
    asking.verify_mode = ssl.CERT_NONE
    asking.set_alpn_protocols(["h2"])
    with socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S) as plain:
        try:
            asking.wrap_socket(plain).close()
        except ssl.SSLError as error:
            # That it refuses us for want of a certificate it said in TLS.
            return "ALERT" in (error.reason or "")
        except (ConnectionError, TimeoutError):
            return False
    return True


def _check_tls(address: str) -> None:
    """See that both sides use TLS or neither: Ray would end the process after a minute. Raises ClusterError."""
    ours = os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")
    try:
        theirs = speaks_tls(address)
    except (OSError, ValueError) as error:
        raise ClusterError(f"nothing answers at {address}: {error}", next_step="check the address") from None
    if theirs and not ours:
        raise ClusterError(
            f"the Ray cluster at {address} uses TLS, and this machine does not",
            next_step="set RAY_USE_TLS=1 and RAY_TLS_SERVER_CERT, RAY_TLS_SERVER_KEY, RAY_TLS_CA_CERT",
        )
    if ours and not theirs:
        raise ClusterError(
            f"what answers at {address} does not use TLS, and this machine does (RAY_USE_TLS)",
            next_step="start the head with it too, or unset it here",
        )


def check_token(address: str) -> None:
    """See that the cluster at ``address`` takes our token (``RAY_AUTH_TOKEN``, else ``~/.ray/auth_token``).

    Ray itself would try for twenty seconds and say that it cannot connect. Raises Unauthenticated, ClusterError.
    """
    _check_tls(address)
    try:
        from ray._raylet import GcsClient  # type: ignore[attr-defined]
        from ray.exceptions import AuthenticationError, RaySystemError
    except ImportError:
        # Another Ray, with other insides: it finds out by itself.
        return
    try:
        GcsClient(address=address).internal_kv_exists(b"hrm", timeout=_ANSWER_S)
    except AuthenticationError:
        raise Unauthenticated(
            f"the Ray cluster at {address} does not take this token",
            next_step="it stands on the head, in ray/token in the server's home",
        ) from None
    except (RaySystemError, RuntimeError, OSError) as error:
        raise ClusterError(
            f"what answers at {address} is no Ray cluster: {str(error).splitlines()[0] if str(error) else error!r}",
            next_step="check the address",
        ) from None
