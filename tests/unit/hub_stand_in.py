"""A folder of models comes in; a server on 127.0.0.1 that answers as the hub does goes out.

Only what `snapshot_download` asks: a model's information, its tree, and HEAD and GET of its files.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

INFO = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(/revision/(?P<revision>[^/]+))?")
TREE = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)")
FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")


class HubStandIn:
    """Serves `models/OWNER/NAME/*`; one commit a model, on the branch `main`."""

    def __init__(self, models: Path) -> None:
        self.models = models
        self.gated: set[str] = set()
        self.broken = False
        """Answer everything with 500, as a hub does on a bad day."""
        self.cut_after: int | None = None
        """Close the connection after so many bytes of a file."""
        self.fetched: list[str] = []
        """The names of the files whose content was asked for."""
        self.asked = 0
        """How often anything was asked for."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, repo: str, files: dict[str, bytes]) -> str:
        """Publish a model; returns its commit."""
        for name, content in files.items():
            path = self.models / repo / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return self.commit(repo)

    def commit(self, repo: str) -> str:
        content = b"".join(name.encode() + path.read_bytes() for name, path in sorted(self.files(repo).items()))
        return hashlib.sha1(repo.encode() + content).hexdigest()

    def files(self, repo: str) -> dict[str, Path]:
        root = self.models / repo
        return {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}

    def stop(self) -> None:
        """From here on connections are refused."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def hub_stand_in(models: Path) -> Iterator[HubStandIn]:
    hub = HubStandIn(models)
    try:
        yield hub
    finally:
        hub.stop()


def _handler(hub: HubStandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _answer(self) -> None:
            hub.asked += 1
            path = unquote(urlsplit(self.path).path)
            match = INFO.fullmatch(path) or TREE.fullmatch(path) or FILE.fullmatch(path)
            if hub.broken:
                self._send(500)
            elif match is None or not hub.files(match["repo"]):
                self._send(404, error="RepoNotFound")
            elif match["revision"] not in {None, "main", hub.commit(match["repo"])}:
                self._send(404, error="RevisionNotFound")
            elif match.re is INFO:
                self._send(200, self._info(match["repo"]))
            elif match.re is TREE:
                self._send(200, self._tree(match["repo"]))
            else:
                self._file(match["repo"], match["name"])

        def _info(self, repo: str) -> bytes:
            names = [{"rfilename": name} for name in sorted(hub.files(repo))]
            return json.dumps({"id": repo, "modelId": repo, "sha": hub.commit(repo), "siblings": names}).encode()

        def _tree(self, repo: str) -> bytes:
            files = sorted(hub.files(repo).items())
            rows = [{"type": "file", "path": n, "size": p.stat().st_size, "oid": _etag(p)} for n, p in files]
            return json.dumps(rows).encode()

        def _file(self, repo: str, name: str) -> None:
            path = hub.files(repo).get(name)
            if repo in hub.gated:
                self._send(403, error="GatedRepo")
            elif path is None:
                self._send(404, error="EntryNotFound")
            else:
                if self.command == "GET":
                    hub.fetched.append(name)
                self._send(200, path.read_bytes(), etag=_etag(path), commit=hub.commit(repo))

        def _send(self, status: int, body: bytes = b"{}", *, error: str = "", etag: str = "", commit: str = "") -> None:
            self.send_response(status)
            headers = {"X-Error-Code": error, "X-Repo-Commit": commit, "ETag": f'"{etag}"' if etag else ""}
            for name, value in headers.items():
                if value:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            self.wfile.write(body[: hub.cut_after] if etag else body)

    return Handler


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()
