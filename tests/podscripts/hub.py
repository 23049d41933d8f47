"""A hub on loopback that answers as huggingface.co does, and keeps an account of what was asked and sent.

Written after what huggingface_hub 2.4 asks (hf_api.py, file_download.py, utils/_http.py) and what it
documents of the answers. Large files are redirected to another host, as to the hub's CDN.
"""

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LFS_FROM = 1000
"""Bytes from which a file is a large one."""
PIECE = 64 << 10

Answer = tuple[int, dict[str, str], bytes]


def error(status: int, code: str = "", message: str = "", **headers: str) -> Answer:
    """An answer that is an error."""
    named = {"X-Error-Code": code, "X-Error-Message": message, **headers}
    body = json.dumps({"error": message}).encode()
    return status, {key: value for key, value in named.items() if value}, body


INVALID_CREDENTIALS = "Invalid credentials in Authorization header"


@dataclass
class Repo:
    """A model: what each commit holds, and which commit a branch or tag means."""

    commits: dict[str, dict[str, bytes]]
    refs: dict[str, str]
    private: bool = False
    gated: bool = False


@dataclass
class Asked:
    """One request, and what it was answered."""

    path: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0
    """Bytes of the body."""


@dataclass
class Hub:
    """The hub's state, and what a test may do to it."""

    repos: dict[str, Repo] = field(default_factory=dict)
    granted: set[str] = field(default_factory=set)
    """Tokens of accounts that may read everything."""
    valid: set[str] = field(default_factory=set)
    """Tokens of accounts that have been granted nothing."""
    asked: list[Asked] = field(default_factory=list)
    troubles: list[tuple[str, Answer]] = field(default_factory=list)
    """(pattern, answer): the next request whose path fits gets the answer, once."""
    before: Callable[[Asked], None] = lambda asked: None
    """Called before a request is answered."""
    during: Callable[[Asked, int], None] = lambda asked, sent: None
    """Called before each piece of a file is sent, with the bytes sent so far; may raise ConnectionError."""
    ignores_range: bool = False
    forged: dict[str, list[bytes]] = field(default_factory=dict)
    """What is sent instead of a file's content, one after the other."""
    web: dict[str, bytes] = field(default_factory=dict)
    """Files of a web server that is no hub, by their path."""
    moved: dict[str, str] = field(default_factory=dict)
    """Where the web server sends those who ask for a path."""
    names: Callable[[str], str] = lambda name: name
    """What the listing calls a file."""
    port: int = 0

    @property
    def url(self) -> str:
        """HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}"

    def add(self, model: str, files: dict[str, bytes], **more: Any) -> str:
        """Add a model of one commit, which is returned; or a dataset, as `datasets/ORG/NAME`."""
        commit = hashlib.sha1(json.dumps([model, sorted(files)]).encode()).hexdigest()
        self.repos[model] = Repo({commit: files}, {"main": commit}, **more)
        return commit

    @property
    def sent(self) -> int:
        """Bytes of files that were sent in all."""
        return sum(asked.sent for asked in self.files())

    def files(self) -> list[Asked]:
        """The requests in which a file's content was sent."""
        return [asked for asked in self.asked if "/api/" not in asked.path and asked.status in (200, 206)]


def oid(content: bytes) -> str:
    """What git calls a file of that content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def etag(content: bytes) -> str:
    """What the hub calls it."""
    return hashlib.sha256(content).hexdigest() if len(content) >= LFS_FROM else oid(content)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._handle(body=False)

    def do_GET(self) -> None:
        self._handle(body=True)

    def _handle(self, *, body: bool) -> None:
        asked = Asked(self.path, dict(self.headers))
        self.hub.asked.append(asked)
        self.hub.before(asked)
        status, headers, content = self._answer()
        asked.status = status
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if not body:
            return
        try:
            for start in range(0, len(content), PIECE):
                if "/api/" not in self.path and status < 300:
                    self.hub.during(asked, start)
                self.wfile.write(content[start : start + PIECE])
                asked.sent += len(content[start : start + PIECE])
        except ConnectionError:
            self.close_connection = True

    def _answer(self) -> Answer:
        for trouble in self.hub.troubles:
            if re.search(trouble[0], self.path):
                self.hub.troubles.remove(trouble)
                return trouble[1]
        parts = urlsplit(self.path)
        if found := re.fullmatch(r"/cdn/(.+)/([0-9a-f]{40})/(.+)", parts.path):
            model, commit, name = found.groups()
            return self._content(name, self.hub.repos[model].commits[commit][unquote(name)])
        if parts.path in self.hub.moved:
            return 302, {"Location": self.hub.moved[parts.path]}, b""
        if parts.path in self.hub.web:
            return self._content(parts.path, self.hub.web[parts.path])
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.granted | self.hub.valid:
            return error(401, "", INVALID_CREDENTIALS)
        return self._answer_to(parts.path, token)

    def _answer_to(self, path: str, token: str) -> Answer:
        if found := re.fullmatch(r"/api/(?:models/)?(.+?)(?:/(revision|tree)/([^/]+))?", path):
            model, what, revision = found.groups()
            answer = self._commit(model, revision, token, listing=True)
            if isinstance(answer, tuple):
                return answer
            listing = self._tree if what == "tree" else self._info
            return 200, {"Content-Type": "application/json"}, json.dumps(listing(model, answer)).encode()
        if found := re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path):
            model, revision, name = found.groups()
            answer = self._commit(model, revision, token, listing=False)
            return answer if isinstance(answer, tuple) else self._resolve(model, answer, unquote(name))
        return error(404, "", "Not Found")

    def _commit(self, model: str, revision: str | None, token: str, *, listing: bool) -> str | Answer:
        repo = self.hub.repos.get(model)
        allowed = token in self.hub.granted
        if repo is None or (repo.private and not allowed):
            if token:
                return error(404, "RepoNotFound", "Repository not found")
            return error(401, "RepoNotFound", "Invalid username or password.")
        if repo.gated and not allowed and not listing:
            if token:
                message = f"Access to model {model} is restricted and you are not in the authorized list."
                return error(403, "GatedRepo", message)
            return error(401, "GatedRepo", f"Access to model {model} is restricted. Please log in.")
        wanted = unquote(revision or "main")
        commit = repo.refs.get(wanted, wanted)
        if commit not in repo.commits:
            return error(404, "RevisionNotFound", f"Invalid rev id: {wanted}")
        return commit

    def _info(self, model: str, commit: str) -> dict[str, Any]:
        files = self.hub.repos[model].commits[commit]
        blobs = "blobs" in parse_qs(urlsplit(self.path).query)
        siblings = []
        for name, content in files.items():
            entry: dict[str, Any] = {"rfilename": self.hub.names(name)}
            if blobs:
                entry |= {"blobId": oid(content), "size": len(content)}
            if blobs and len(content) >= LFS_FROM:
                entry["lfs"] = {"sha256": etag(content), "size": len(content), "pointerSize": 135}
                entry["blobId"] = oid(b"version https://git-lfs.github.com/spec/v1 " + name.encode())
            siblings.append(entry)
        return {"_id": "1", "id": model, "modelId": model, "sha": commit, "siblings": siblings, "tags": []}

    def _tree(self, model: str, commit: str) -> list[dict[str, Any]]:
        entries = []
        for entry in self._info(model, commit)["siblings"]:
            content = self.hub.repos[model].commits[commit][entry["rfilename"]]
            large = {"lfs": {"oid": etag(content), "size": len(content), "pointerSize": 135}}
            plain = {"type": "file", "oid": oid(content), "size": len(content), "path": entry["rfilename"]}
            entries.append(plain | (large if len(content) >= LFS_FROM else {}))
        return entries

    def _resolve(self, model: str, commit: str, name: str) -> Answer:
        content = self.hub.repos[model].commits[commit].get(name)
        if content is None:
            return error(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": commit, "ETag": f'"{etag(content)}"'}
        if len(content) < LFS_FROM:
            status, ranged, body = self._content(name, content)
            return status, headers | ranged, body
        headers |= {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{etag(content)}"'}
        # Another name is another host: no client may send it the token.
        return (
            302,
            headers | {"Location": f"http://localhost:{self.hub.port}/cdn/{model}/{commit}/{name}"},
            b"",
        )

    def _content(self, name: str, content: bytes) -> Answer:
        if self.hub.forged.get(name):
            content = self.hub.forged[name].pop(0)
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not found or self.hub.ignores_range:
            return 200, {"Accept-Ranges": "bytes"}, content
        start, end = int(found[1]), int(found[2] or len(content) - 1)
        if start >= len(content):
            return 416, {"Content-Range": f"bytes */{len(content)}"}, b""
        return 206, {"Content-Range": f"bytes {start}-{end}/{len(content)}"}, content[start : end + 1]


class Server(ThreadingHTTPServer):
    """The hub's process: a client that is gone is no news."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def running() -> Iterator[Hub]:
    """A hub without models."""
    hub = Hub()
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
