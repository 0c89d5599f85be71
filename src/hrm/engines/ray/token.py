"""Ray as it is imported here, and its token: whoever has that may do everything in the cluster."""

from __future__ import annotations

import os

from hrm.model.errors import ClusterError, Unauthenticated

_ANSWER_S = 5.0


#: How Ray is to behave in our process. It reads this when it is imported.
_ENVIRONMENT = {
    # Connections that died silently are noticed and made anew when the network is back; by default that takes minutes.
    "RAY_grpc_client_keepalive_time_ms": "3000",
    "RAY_grpc_client_keepalive_timeout_ms": "3000",
    # What is said after the end is not to begin anew.
    "RAY_ENABLE_AUTO_CONNECT": "0",
}


def require_ray() -> None:
    """Import Ray, set up as we want it. Raises ClusterError where it is not installed."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray  # noqa: F401
    except ImportError:
        raise ClusterError(
            "the engine ray needs Ray, which is not installed here",
            next_step="pip install 'hrm[ray]' (the same version of Ray on every machine)",
        ) from None


def check_token(address: str) -> None:
    """See that the cluster at ``address`` takes our token (``RAY_AUTH_TOKEN``, else ``~/.ray/auth_token``).

    Ray itself would try for twenty seconds and say that it cannot connect. Raises Unauthenticated, ClusterError.
    """
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
