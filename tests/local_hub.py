"""A stand-in for the Hugging Face hub on this machine: what clients ask of it to read models and datasets."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" * 6 + "beef"
TOKEN = "hf_local"


class LocalHub:
    """Repositories by "models/owner/name" or "datasets/owner/name", each a dict of file contents.

    Attributes:
        branches: commits by (repository, branch); "main" is COMMIT unless it is said otherwise.
        gated: repositories whose files need TOKEN.
        asked: paths of all requests.
    """

    def __init__(self, endpoint: str):
        self.endpoint = endpoint
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.branches: dict[tuple[str, str], str] = {}
        self.gated: set[str] = set()
        self.asked: list[str] = []

    def commit(self, repository: str, revision: str) -> str | None:
        """The commit that a revision is, if there is such a one."""
        known = {COMMIT, *self.branches.values()}
        if revision in known:
            return revision
        return self.branches.get((repository, revision), COMMIT if revision == "main" else None)


@contextmanager
def local_hub():
    """Run a hub; gives a `LocalHub`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            hub.asked.append(f"{self.command} {self.path}")
            parts = unquote(urlsplit(self.path).path).strip("/").split("/")
            if parts[0] == "api" and parts[1] in ("models", "datasets"):
                self._api("/".join(parts[1:4]), parts[4:])
            elif "resolve" in parts:
                place = parts.index("resolve")
                kind = "" if parts[0] == "datasets" else "models/"
                self._file(kind + "/".join(parts[:place]), parts[place + 1], "/".join(parts[place + 2 :]))
            else:
                self._answer(404, {"error": "no such page"})

        def do_HEAD(self):
            self.do_GET()

        def do_POST(self):
            self.do_GET()

        def _api(self, repository, rest):
            files = hub.repositories.get(repository)
            if files is None:
                self._answer(404, {"error": "no"}, **{"X-Error-Code": "RepoNotFound"})
                return
            action = rest[0] if rest else "revision"
            if action == "auth-check":
                self._answer(200, {}) if self._may_read(repository) else self._refuse(repository)
                return
            revision = rest[1] if len(rest) > 1 else "main"
            commit = hub.commit(repository, revision)
            if commit is None:
                self._answer(404, {"error": "no"}, **{"X-Error-Code": "RevisionNotFound"})
            elif action == "revision":
                siblings = [{"rfilename": name} for name in files]
                name = repository.partition("/")[2]
                self._answer(
                    200, {"id": name, "sha": commit, "siblings": siblings, "private": False, "tags": []}
                )
            elif action == "tree":
                self._answer(200, listing("/".join(rest[2:]), files, "recursive=true" in self.path.lower()))
            elif action == "paths-info":
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                asked = json.loads(body)["paths"] if body.startswith("{") else body
                self._answer(200, [entry(name, files) for name in files if name in asked])
            else:
                self._answer(404, {"error": action})

        def _file(self, repository, revision, name):
            files = hub.repositories.get(repository, {})
            commit = hub.commit(repository, revision)
            if repository in hub.gated and not self._may_read(repository):
                self._refuse(repository)
            elif name not in files or commit is None:
                self._answer(
                    404, {"error": name}, **{"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}
                )
            else:
                etag = hashlib.sha256(files[name]).hexdigest()
                self._answer(200, files[name], **{"ETag": f'"{etag}"', "X-Repo-Commit": commit})

        def _may_read(self, repository):
            return repository not in hub.gated or self.headers.get("Authorization") == f"Bearer {TOKEN}"

        def _refuse(self, repository):
            status = 403 if self.headers.get("Authorization") else 401
            self._answer(status, {"error": "gated"}, **{"X-Error-Code": "GatedRepo"})

        def _answer(self, status, content, **headers):
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            start, stop = 0, len(body)
            if status == 200 and (asked := self.headers.get("Range")):
                first, _, last = asked.removeprefix("bytes=").partition("-")
                start, stop = int(first), min(len(body), int(last) + 1 if last else len(body))
                status = 206
                headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
            self.send_response(status)
            self.send_header("Content-Length", str(stop - start))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[start:stop])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = LocalHub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def entry(name: str, files: dict[str, bytes]) -> dict:
    """A file as the hub lists it."""
    return {
        "type": "file",
        "path": name,
        "size": len(files[name]),
        "oid": hashlib.sha1(files[name]).hexdigest(),
    }


def listing(folder: str, files: dict[str, bytes], recursive: bool) -> list[dict]:
    """A folder as the hub lists it: its files, and the folders in it."""
    prefix = f"{folder}/" if folder else ""
    inside = [name for name in files if name.startswith(prefix)]
    if recursive:
        return [entry(name, files) for name in inside]
    folders = {prefix + name[len(prefix) :].split("/")[0] for name in inside if "/" in name[len(prefix) :]}
    oid = "0" * 40
    return [{"type": "directory", "path": path, "size": 0, "oid": oid} for path in sorted(folders)] + [
        entry(name, files) for name in inside if "/" not in name[len(prefix) :]
    ]
