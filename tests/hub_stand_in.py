"""A hub on loopback for tests: the download routes that huggingface_hub asks, over folders on disk."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class HubStandIn:
    """Serves `{repo id: folder}`; `gated` ids answer as gated repositories do. Use as a context manager."""

    def __init__(self, models: dict[str, Path], gated: frozenset[str] = frozenset()) -> None:
        self.models = models
        self.gated = gated
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": self}))
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> HubStandIn:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def commit(self, repo: str) -> str:
        return hashlib.sha1(repo.encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: HubStandIn
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.hub.asked.append(path)
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+)|/tree/([^/]+).*)?", path):
            self._api(match[1], match[2] or match[3], tree=match[3] is not None, body=body)
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(match[1], match[2], match[3], body=body)
        else:
            self._send(404, b"{}", {}, body=body)

    def _api(self, repo: str, revision: str | None, *, tree: bool, body: bool) -> None:
        if self._missing(repo, revision, body=body):
            return
        folder = self.hub.models[repo]
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        if tree:
            rows = [
                {"type": "file", "path": name, "size": (folder / name).stat().st_size, "oid": "0" * 40}
                for name in names
            ]
            self._send(200, json.dumps(rows).encode(), {}, body=body)
            return
        info = {
            "id": repo, "sha": self.hub.commit(repo), "siblings": [{"rfilename": name} for name in names],
            "private": False, "gated": False, "tags": [], "downloads": 0, "likes": 0,
        }  # fmt: skip
        self._send(200, json.dumps(info).encode(), {}, body=body)

    def _file(self, repo: str, revision: str, name: str, *, body: bool) -> None:
        if self._missing(repo, revision, body=body):
            return
        if repo in self.hub.gated:
            self._send(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"}, body=body)
            return
        path = self.hub.models[repo] / name
        if not path.is_file():
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"}, body=body)
            return
        content = path.read_bytes()
        headers = {"X-Repo-Commit": self.hub.commit(repo), "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        self._send(200, content, headers, body=body)

    def _missing(self, repo: str, revision: str | None, *, body: bool) -> bool:
        if repo not in self.hub.models:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body=body)
            return True
        if revision not in (None, "main", self.hub.commit(repo)):
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body=body)
            return True
        return False

    def _send(self, status: int, content: bytes, headers: dict[str, str], *, body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)
