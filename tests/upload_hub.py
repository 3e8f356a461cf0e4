"""A stand-in for the Hugging Face hub, as far as uploads of a dataset need it."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_secretOfTheTests"
# Files that go with a commit, not as large ones.
SMALL = ("README.md", ".longspan.json", ".gitattributes")


class UploadHub:
    """Datasets in memory, by name; every request needs the token.

    Attributes:
        datasets: `private`, `files` by path, and `commits` (their paths) of each.
        objects: large files that were sent, by sha256, whether or not a commit names them.
        breaks_after: large files after which the connection breaks, or None.
        requests: method and path of every request.
    """

    def __init__(self):
        self.datasets: dict[str, dict] = {}
        self.objects: dict[str, bytes] = {}
        self.breaks_after: int | None = None
        self.requests: list[str] = []
        self.endpoint = ""

    def answer(self, method: str, path: str, content: bytes) -> object:
        """What the hub says: an object, an error's number, or both."""
        self.requests.append(f"{method} {path}")
        if method == "PUT" and path.startswith("/objects/"):
            if self.breaks_after is not None and len(self.objects) >= self.breaks_after:
                return 403
            self.objects[path.removeprefix("/objects/")] = content
            return {}
        body = json.loads(content) if content and "/commit/" not in path else None
        if path == "/api/repos/create":
            name = f"{body['organization']}/{body['name']}"
            url = {"url": f"{self.endpoint}/datasets/{name}"}
            if name in self.datasets:
                return 409, url
            assert body["type"] == "dataset"
            private = body.get("private", body.get("visibility") == "private")
            self.datasets[name] = {"private": private, "files": {}, "commits": []}
            return 200, url
        if path == "/api/validate-yaml":
            return {"errors": [], "warnings": []}
        if method in ("GET", "HEAD") and "/resolve/" in path:
            repo, _, file = path.removeprefix("/datasets/").partition("/resolve/")
            dataset = self.datasets.get(repo, {"files": {}})
            return dataset["files"].get(file.partition("/")[2], 404)
        owner, name, *rest = path.removeprefix("/api").removeprefix("/datasets/").split("/")
        dataset = self.datasets.get(f"{owner}/{name.removesuffix('.git')}")
        found = 404 if dataset is None else self._of_dataset(dataset, rest, body, content)
        if rest[:1] == ["commit"]:
            return {
                "commitUrl": f"{self.endpoint}/datasets/{owner}/{name}/commit/{found}",
                "commitOid": found,
            }
        return found

    def _of_dataset(self, dataset: dict, rest: list[str], body: dict | None, content: bytes) -> object:
        files = dataset["files"]
        if not rest:
            return {
                "id": "x",
                "sha": _commit_id(dataset),
                "private": dataset["private"],
                "tags": [],
                "siblings": [],
            }
        if rest[0] == "tree":
            return [_entry(path, data, path not in SMALL) for path, data in sorted(files.items())]
        if rest[0] == "preupload":
            modes = {file["path"]: "regular" if file["path"] in SMALL else "lfs" for file in body["files"]}
            return {
                "files": [
                    {"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()
                ]
            }
        if rest[0] == "info":
            return {
                "transfer": "basic",
                "objects": [
                    wanted
                    if wanted["oid"] in self.objects
                    else wanted
                    | {"actions": {"upload": {"href": f"{self.endpoint}/objects/{wanted['oid']}"}}}
                    for wanted in body["objects"]
                ],
            }
        assert rest[0] == "commit"
        lines = [json.loads(line) for line in content.splitlines()]
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                assert line["key"] == "deletedFile"
                del files[value["path"]]
        dataset["commits"].append([line["value"]["path"] for line in lines[1:]])
        return _commit_id(dataset)


def _commit_id(dataset: dict) -> str:
    return hashlib.sha1(repr(dataset["commits"]).encode()).hexdigest()


def _entry(path: str, data: bytes, is_large: bool) -> dict:
    entry = {"type": "file", "path": path, "size": len(data)}
    if is_large:
        digest = hashlib.sha256(data).hexdigest()
        return entry | {"oid": "f" * 40, "lfs": {"size": len(data), "oid": digest, "pointerSize": 130}}
    return entry | {"oid": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()}


@contextmanager
def upload_hub():
    """Serve an `UploadHub` on a port of this machine."""
    hub = UploadHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            # Large files go to signed addresses, which need no token.
            allowed = path.startswith("/objects/") or self.headers.get("Authorization") == f"Bearer {TOKEN}"
            found = hub.answer(self.command, path, content) if allowed else 401
            if isinstance(found, int):
                found = found, {"error": "refused"}
            status, answer = found if isinstance(found, tuple) else (200, found)
            payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            if isinstance(answer, bytes):
                self.send_header("ETag", f'"{hashlib.sha1(answer).hexdigest()}"')
                self.send_header("X-Repo-Commit", "c" * 40)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(payload)

        do_GET = do_HEAD = do_POST = do_PUT = answer

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
