"""A hub on 127.0.0.1 that speaks what huggingface_hub asks of one, and fails when told to."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repository:
    """A model or a data set at one commit, with what goes wrong when it is asked for."""

    folder: Path
    commit: str = COMMIT
    branches: dict[str, str] = field(default_factory=dict)  # besides main: their commits
    token: str | None = None  # gated: asks for this one
    wrong: dict[str, bytes] = field(default_factory=dict)  # served in place of these files
    lost: set[str] = field(default_factory=set)  # listed, but not there
    cut_once: dict[str, int] = field(default_factory=dict)  # bytes until the connection breaks
    stalls: set[str] = field(default_factory=set)  # half of it comes, and then nothing
    sizes: dict[str, int] = field(default_factory=dict)  # listed in place of the true ones
    has_checksums: bool = True
    card: dict[str, Any] = field(default_factory=dict)  # what the README's head says

    def names(self) -> list[str]:
        files = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return [path.relative_to(self.folder).as_posix() for path in files]


@dataclass
class Hub:
    """What the server serves, and what was asked of it."""

    endpoint: str
    repositories: dict[str, Repository] = field(default_factory=dict)  # by owner/name
    asked: list[str] = field(default_factory=list)  # "GET owner/name unet/config.json 0"
    stalling: threading.Event = field(default_factory=threading.Event)
    ending: threading.Event = field(default_factory=threading.Event)


def describe(path: Path) -> dict[str, Any]:
    """Describe a file as the hub's interface does: large ones carry a SHA-256."""
    data = path.read_bytes()
    blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
    entry: dict[str, Any] = {"size": len(data), "blobId": blob, "oid": blob}
    if path.suffix in (".safetensors", ".bin"):
        sha256 = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"size": len(data), "sha256": sha256, "oid": sha256, "pointerSize": 130}
    return entry


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub  # set on a subclass of each server

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        words = parts.path.strip("/").split("/")
        is_api = words[:1] == ["api"]
        words = words[1:] if is_api else words
        words = words[1:] if words[0] in ("models", "datasets") else words
        name, rest = "/".join(words[:2]), words[2:]
        repository = self.hub.repositories.get(name)
        if repository is None:
            return self._refuse(401, "RepoNotFound")
        sent = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if repository.token and sent != repository.token:
            return self._refuse(403 if sent else 401, "GatedRepo")
        revision = rest[1] if len(rest) > 1 else "main"
        known = {"main": repository.commit, repository.commit: repository.commit}
        if (commit := (known | repository.branches).get(revision)) is None:
            return self._refuse(404, "RevisionNotFound")
        if not is_api:
            return self._send_file(repository, name, "/".join(rest[2:]))
        query = parse_qs(parts.query)
        if rest[:1] == ["tree"]:
            return self._send_json(self._list(repository, "/".join(rest[2:]), query))
        siblings = [
            {"rfilename": file, **(self._describe(repository, file) if "blobs" in query else {})}
            for file in repository.names()
        ]
        card = {"cardData": repository.card} if repository.card else {}
        self._send_json({"id": name, "sha": commit, "siblings": siblings, **card})

    def _list(self, repository: Repository, below: str, query: Any) -> list[dict[str, Any]]:
        """List a folder: its files and folders, or all that is below it."""
        pattern = "*" if query.get("recursive", ["true"])[0].lower() == "false" else "**/*"
        entries = []
        for path in sorted((repository.folder / below).glob(pattern)):
            name = path.relative_to(repository.folder).as_posix()
            if path.is_file():
                entries.append({"type": "file", "path": name, **self._describe(repository, name)})
            else:
                entries.append({"type": "directory", "path": name, "oid": "0" * 40})
        return entries

    def _describe(self, repository: Repository, file: str) -> dict[str, Any]:
        entry = describe(repository.folder / file)
        if not repository.has_checksums:
            return {"size": entry["size"], "oid": entry["oid"]}
        return {**entry, "size": repository.sizes.get(file, entry["size"])}

    def _send_json(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_file(self, repository: Repository, name: str, file: str) -> None:
        path = repository.folder / file
        if not path.is_file() or file in repository.lost:
            return self._refuse(404, "EntryNotFound")
        entry = describe(path)
        data = repository.wrong.get(file, path.read_bytes())
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        if self.command == "GET":
            self.hub.asked.append(f"{name} {file} {start}")
        etag = entry["lfs"]["sha256"] if "lfs" in entry else entry["blobId"]
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", repository.commit)
        if "lfs" in entry:
            self.send_header("X-Linked-ETag", f'"{etag}"')
            self.send_header("X-Linked-Size", str(len(data)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        if file in repository.cut_once:
            self.wfile.write(data[start : repository.cut_once.pop(file)])
            self.close_connection = True
        elif file in repository.stalls:
            self.wfile.write(data[start : len(data) // 2])
            self.wfile.flush()
            self.hub.stalling.set()
            self.hub.ending.wait()
            self.close_connection = True
        else:
            self.wfile.write(data[start:])


@contextmanager
def serve() -> Iterator[Hub]:
    """Serve an empty hub until the block ends."""
    handler = type("HandlerOfOneHub", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    handler.hub = hub = Hub(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.ending.set()
        server.shutdown()
        server.server_close()
        thread.join()
