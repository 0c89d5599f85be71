"""Which package index pip is set up for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hrm.detect.index import DEFAULT_INDEX, IndexSettings, configured_index, open_client, without_password
from hrm.model.errors import InvalidInput

HARMLESS = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PIP_CONFIG_FILE": os.devnull}


def test_without_any_setting_it_is_pypi() -> None:
    assert configured_index(HARMLESS).urls == (DEFAULT_INDEX,)


def test_pips_files_are_followed(tmp_path: Path) -> None:
    conf = tmp_path / "pip.conf"
    conf.write_text(
        "[global]\nindex-url = https://one.example/simple/\nextra-index-url =\n  https://two.example/simple\n"
        "  https://three.example/simple\ncert = /etc/one.pem\ntimeout = 60\n"
        "[download]\nproxy = http://proxy.example:3128\n"
    )

    settings = configured_index(HARMLESS | {"PIP_CONFIG_FILE": str(conf)})

    assert settings == IndexSettings(
        urls=("https://one.example/simple", "https://two.example/simple", "https://three.example/simple"),
        ca_path="/etc/one.pem",
        proxy="http://proxy.example:3128",
        timeout_s=60.0,
    )


def test_the_environment_wins_over_pips_files(tmp_path: Path) -> None:
    conf = tmp_path / "pip.conf"
    conf.write_text("[global]\nindex-url = https://one.example/simple\n")

    settings = configured_index(
        HARMLESS | {"PIP_CONFIG_FILE": str(conf), "PIP_INDEX_URL": "https://other.example/simple"}
    )

    assert settings.urls == ("https://other.example/simple",)


def test_certificates_are_those_of_requests_where_pip_names_none() -> None:
    assert configured_index(HARMLESS | {"REQUESTS_CA_BUNDLE": "/etc/some.pem"}).ca_path == "/etc/some.pem"


def test_no_index_is_obeyed() -> None:
    with pytest.raises(InvalidInput, match="pip is set up to use no index") as caught:
        configured_index(HARMLESS | {"PIP_NO_INDEX": "1"})

    assert "--from FILE" in caught.value.next_step


def test_certificates_that_are_not_there_are_named() -> None:
    with (
        pytest.raises(InvalidInput, match=r"certificates /nonexistent/ca\.pem cannot be read"),
        open_client(IndexSettings(ca_path="/nonexistent/ca.pem")),
    ):
        pass


def test_a_proxy_that_is_none_is_named() -> None:
    with pytest.raises(InvalidInput, match="proxy: not a proxy"), open_client(IndexSettings(proxy="ftp://nowhere")):
        pass


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ada:secret@index.example:8443/simple", "https://index.example:8443/simple"),
        ("https://index.example/simple", "https://index.example/simple"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown
