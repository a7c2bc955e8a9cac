"""A hub on loopback for tests: the download routes that huggingface_hub asks, over folders on disk."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


class HubStandIn:
    """Serves models and data sets, `{repo id: folder}` each; `gated` ids answer as gated repositories do. Use as a
    context manager."""

    def __init__(
        self,
        models: dict[str, Path],
        gated: frozenset[str] = frozenset(),
        datasets: dict[str, Path] | None = None,
    ) -> None:
        self.models = models
        self.datasets = datasets or {}
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
        if match := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/revision/([^/]+)|/tree/([^/]+)(.*))?", path):
            repo = match[2] if match[1] == "models" else f"datasets/{match[2]}"
            self._api(repo, match[3] or match[4], match[5] if match[4] else None, body=body)
        elif match := re.fullmatch(r"/((?:datasets/)?[^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(match[1], match[2], match[3], body=body)
        else:
            self._send(404, b"{}", {}, body=body)

    def _folder(self, repo: str) -> Path | None:
        if repo.startswith("datasets/"):
            return self.hub.datasets.get(repo.removeprefix("datasets/"))
        return self.hub.models.get(repo)

    def _entry(self, folder: Path, name: str) -> dict[str, object]:
        path = folder / name
        kind = "directory" if path.is_dir() else "file"
        return {"type": kind, "path": name, "size": 0 if path.is_dir() else path.stat().st_size, "oid": "0" * 40}

    def _api(self, repo: str, revision: str | None, tree: str | None, *, body: bool) -> None:
        """Facts of a repository, or with `tree` what is below a folder of it (all of it for the root)."""
        if self._missing(repo, revision, body=body):
            return
        folder = self._folder(repo)
        assert folder is not None
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        if tree is not None:
            below = unquote(tree.strip("/"))
            if below and not (folder / below).is_dir():
                self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"}, body=body)
                return
            inside = [name for name in names if not below or name.startswith(below + "/")]
            self._send(200, json.dumps([self._entry(folder, name) for name in inside]).encode(), {}, body=body)
            return
        info = {
            "id": repo.removeprefix("datasets/"), "sha": self.hub.commit(repo), "private": False, "gated": False,
            "siblings": [{"rfilename": name} for name in names], "tags": [], "downloads": 0, "likes": 0,
        }  # fmt: skip
        self._send(200, json.dumps(info).encode(), {}, body=body)

    def _file(self, repo: str, revision: str, name: str, *, body: bool) -> None:
        if self._missing(repo, revision, body=body):
            return
        if repo in self.hub.gated:
            self._send(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"}, body=body)
            return
        folder = self._folder(repo)
        assert folder is not None
        path = folder / unquote(name)
        if not path.is_file():
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"}, body=body)
            return
        content = path.read_bytes()
        headers = {"X-Repo-Commit": self.hub.commit(repo), "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        self._send(200, content, headers, body=body)

    def _missing(self, repo: str, revision: str | None, *, body: bool) -> bool:
        if self._folder(repo) is None:
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
