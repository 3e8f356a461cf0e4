"""Package indexes as pip is set up for them: which files a package has, and their bytes.

Indexes are read by the simple API, in JSON (PEP 691) or HTML (PEP 503), over HTTP or as files. Nothing of a
package is opened here, so nothing of it can run.
"""

import ast
import base64
import html.parser
import json
import netrc
import os
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit, urlunsplit

from longspan.fetching.hub_token import environment_without_token

PYPI = "https://pypi.org/simple"
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
# A package's page names thousands of files at most.
_MAX_PAGE_BYTES = 2**28
_TRIES = 4
_ENDINGS = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz")


@dataclass(frozen=True)
class Candidate:
    """A file of a package: its name, where it is, and its sha256 (hex) as far as the index tells it."""

    filename: str
    url: str
    sha256: str | None

    @property
    def shown_url(self) -> str:
        """The address without a password in it."""
        return without_password(self.url)


@dataclass(frozen=True)
class PackageIndexes:
    """Where pip looks for packages, and how it connects.

    Attributes:
        indexes: addresses of simple indexes.
        links: folders, or pages with links to files.
        certificates: file of the authorities to trust, beside none the system's.
        client_certificate: file with a certificate and its key.
        proxy: of all connections; None leaves it to the environment.
        timeout_seconds: of a connection.
        trusted_hosts: hosts (with or without a port) whose certificates are not looked at.
    """

    indexes: tuple[str, ...] = (PYPI,)
    links: tuple[str, ...] = ()
    certificates: str | None = None
    client_certificate: str | None = None
    proxy: str | None = None
    timeout_seconds: float = 15
    trusted_hosts: tuple[str, ...] = field(default=())

    @classmethod
    def of_pip(cls) -> "PackageIndexes":
        """As pip's files and variables say for `pip download`.

        Raises:
            OSError: pip cannot say.
        """
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
        result = subprocess.run(
            command, capture_output=True, text=True, env=environment_without_token(), stdin=subprocess.DEVNULL
        )
        if result.returncode:
            reason = next(iter(result.stderr.strip().splitlines()), "no word of it")
            raise OSError(f"pip's settings cannot be read ({reason}); correct them (pip config debug)")
        return cls.from_settings(_pip_settings(result.stdout))

    @classmethod
    def from_settings(cls, settings: dict[str, str]) -> "PackageIndexes":
        """From pip's options by their long names."""
        indexes = [settings.get("index-url", PYPI), *settings.get("extra-index-url", "").split()]
        if settings.get("no-index", "").lower() in ("1", "true", "yes", "on", "y", "t"):
            indexes = []
        return cls(
            indexes=tuple(dict.fromkeys(indexes)),
            links=tuple(settings.get("find-links", "").split()),
            certificates=settings.get("cert") or os.environ.get("REQUESTS_CA_BUNDLE"),
            client_certificate=settings.get("client-cert"),
            proxy=settings.get("proxy"),
            timeout_seconds=float(settings.get("timeout", settings.get("default-timeout", 15))),
            trusted_hosts=tuple(settings.get("trusted-host", "").split()),
        )

    def candidates(self, package: str) -> tuple[list[Candidate], list[str]]:
        """All files of a package, and what kept a place from being read."""
        name = re.sub(r"[-_.]+", "-", package).lower()
        found: list[Candidate] = []
        faults: list[str] = []
        for index in self.indexes:
            self._add(f"{index.rstrip('/')}/{quote(name)}/", found, faults)
        for link in self.links:
            url = link if "://" in link else Path(os.path.expanduser(link)).absolute().as_uri()
            self._add(url, found, faults)
        return found, faults

    def _add(self, url: str, found: list[Candidate], faults: list[str]) -> None:
        try:
            found += self._page(url)
        except urllib.error.HTTPError as error:
            # An index that does not have the package is no fault.
            if error.code != 404:
                faults.append(f"{without_password(url)}: {error}")
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            faults.append(f"{without_password(url)}: {' '.join(str(error).split())}")

    def _page(self, url: str) -> list[Candidate]:
        local = _local_path(url)
        if local is not None and not local.exists():
            raise FileNotFoundError(local)
        if local is not None and local.is_dir():
            page = local / "index.html"
            if not page.is_file():
                files = sorted(path for path in local.iterdir() if path.is_file())
                return [Candidate(path.name, path.as_uri(), None) for path in files]
            return _html_candidates(page.read_bytes(), page.as_uri())
        if local is not None and local.name.endswith(_ENDINGS):
            return [Candidate(local.name, url, None)]
        with self.open(url, Accept=_ACCEPT) as answer:
            content = answer.read(_MAX_PAGE_BYTES + 1)
            if len(content) > _MAX_PAGE_BYTES:
                raise ValueError(f"its page is longer than {_MAX_PAGE_BYTES:,} bytes")
            base, kind = answer.url, answer.headers.get_content_type()
        if kind.endswith("json"):
            found = _json_candidates(json.loads(content), base)
        else:
            found = _html_candidates(content, base)
        # What comes from a network names no file of this machine.
        return found if local is not None else [one for one in found if _local_path(one.url) is None]

    def open(self, url: str, **headers: str) -> BinaryIO:
        """The content of an address; the token of the hub goes to none.

        Raises:
            OSError: it cannot be reached, after some tries.
        """
        local = _local_path(url)
        if local is not None:
            return urllib.request.urlopen(local.as_uri())
        scheme, place, *rest = urlsplit(url)
        if scheme not in ("http", "https"):
            raise ValueError(f"{scheme or 'no'} address; give one of http, https or file")
        user, _, host = place.rpartition("@")
        request = urllib.request.Request(urlunsplit((scheme, host, *rest)), headers=headers)
        if user := user or self._user_of(scheme, host) or _netrc_user(host):
            # Not for the host that it may lead on to.
            request.add_unredirected_header("Authorization", _basic(user))
        opener = self._opener(host)
        for seconds in (*(2**number for number in range(_TRIES - 1)), None):
            try:
                return opener.open(request, timeout=self.timeout_seconds)
            except urllib.error.HTTPError as error:
                if error.code < 500 or seconds is None:
                    raise
            except OSError as error:
                is_final = isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError)
                if seconds is None or is_final:
                    raise
            time.sleep(seconds / 4)
        raise AssertionError("the last try returns or raises")

    def _user_of(self, scheme: str, host: str) -> str:
        """Who an index is asked as, for its files on the same host."""
        for address in (*self.indexes, *self.links):
            known = urlsplit(address)
            user, _, place = known.netloc.rpartition("@")
            if user and (known.scheme, place) == (scheme, host):
                return user
        return ""

    def _opener(self, host: str) -> urllib.request.OpenerDirector:
        trusted = {host, host.rpartition("@")[2].partition(":")[0]} & set(self.trusted_hosts)
        context = ssl.create_default_context(cafile=self.certificates)
        if not self.certificates and not context.get_ca_certs():
            # A Python that knows no authority of the system's; pip brings its own along.
            with suppress(ImportError):
                import certifi

                context.load_verify_locations(certifi.where())
        if trusted:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if self.client_certificate:
            context.load_cert_chain(self.client_certificate)
        proxies = {"http": self.proxy, "https": self.proxy} if self.proxy else None
        return urllib.request.build_opener(
            urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context)
        )


def without_password(url: str) -> str:
    """An address as it may be shown."""
    scheme, place, *rest = urlsplit(url)
    return urlunsplit((scheme, place.rpartition("@")[2], *rest))


def _pip_settings(listing: str) -> dict[str, str]:
    """The options that hold for `pip download`, from what `pip config list` prints."""
    found: dict[str, dict[str, str]] = {"global": {}, "download": {}, ":env:": {}}
    for line in listing.splitlines():
        key, is_set, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if is_set and section in found:
            found[section][name.replace("_", "-")] = str(ast.literal_eval(value))
    return found["global"] | found["download"] | found[":env:"]


def _local_path(url: str) -> Path | None:
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _json_candidates(page: object, base: str) -> list[Candidate]:
    files = page.get("files") if isinstance(page, dict) else None
    if not isinstance(files, list):
        raise ValueError("its page lists no files")
    return [
        Candidate(one["filename"], urljoin(base, one["url"]), (one.get("hashes") or {}).get("sha256"))
        for one in files
    ]


class _Links(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.base: str | None = None
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        address = dict(attributes).get("href")
        if tag == "base" and address and self.base is None:
            self.base = address
        elif tag == "a" and address:
            self.found.append(address)


def _html_candidates(content: bytes, base: str) -> list[Candidate]:
    links = _Links()
    links.feed(content.decode("utf-8", "replace"))
    return list(_linked(links.found, urljoin(base, links.base or "")))


def _linked(addresses: Iterable[str], base: str) -> Iterable[Candidate]:
    for address in addresses:
        url, fragment = urldefrag(urljoin(base, address))
        digest = re.search(r"(?:^|&)sha256=([0-9a-f]{64})", fragment)
        name = unquote(urlsplit(url).path).rpartition("/")[2]
        if name.endswith(_ENDINGS):
            yield Candidate(name, url, digest[1] if digest else None)


def _netrc_user(host: str) -> str:
    with suppress(FileNotFoundError, netrc.NetrcParseError, KeyError):
        name = host.partition(":")[0]
        if found := netrc.netrc(os.environ.get("NETRC")).authenticators(name):
            return f"{quote(found[0], safe='')}:{quote(found[2] or '', safe='')}"
    return ""


def _basic(user: str) -> str:
    name, _, password = user.partition(":")
    return "Basic " + base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
