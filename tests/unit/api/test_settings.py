"""Where the server may listen, and which limits make sense."""

from __future__ import annotations

import pytest

from hrm.api.settings import ApiSettings
from hrm.model.errors import InvalidInput


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_leave(host: str) -> None:
    ApiSettings().check_bind(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "master00", "localhost.example.org"])
def test_any_other_address_needs_the_names_by_which_others_come_in(host: str) -> None:
    with pytest.raises(InvalidInput, match="allowed_hosts"):
        ApiSettings().check_bind(host)

    ApiSettings(allowed_hosts=("master00",)).check_bind(host)


@pytest.mark.parametrize("limit", ["max_body_bytes", "requests_per_s", "burst", "max_streams", "max_streams_per_user"])
def test_a_limit_of_nothing_is_refused(limit: str) -> None:
    with pytest.raises(InvalidInput, match=limit):
        ApiSettings(**{limit: 0})


def test_a_heartbeat_that_never_comes_is_refused() -> None:
    with pytest.raises(InvalidInput, match="heartbeat_interval_s"):
        ApiSettings(heartbeat_interval_s=1e9)
