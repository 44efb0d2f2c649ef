"""A stand-in of the hub's interface, as far as `push` speaks it: repositories, LFS, commits."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

TOKEN = "hf_" + "madeUpForThisTest" * 2
LARGE = (".safetensors", ".gguf")


class Hub:
    """What it was told. `refuses`: paths that are answered with 403."""

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []
        self.blobs: dict[str, bytes] = {}
        self.committed: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        self.refuses: tuple[str, ...] = ()
        self.address = ""

    def answer(self, path: str, body: bytes) -> dict[str, Any]:
        said = json.loads(body) if body.startswith(b"{") and b"\n{" not in body else {}
        if path == "/api/repos/create":
            self.created.append(said)
            return {"url": f"{self.address}/{said.get('organization', 'me')}/{said['name']}"}
        if "/preupload/" in path:
            return {"files": [
                {"path": f["path"], "shouldIgnore": False,
                 "uploadMode": "lfs" if f["path"].endswith(LARGE) else "regular"}
                for f in said["files"]
            ]}  # fmt: skip
        if path.endswith("/objects/batch"):
            return {"transfer": "basic", "objects": [
                {**one, "actions": {"upload": {"href": f"{self.address}/blob/{one['oid']}"}}}
                for one in said["objects"]
            ]}  # fmt: skip
        if "/commit/" in path:
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    self.committed[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    self.committed[value["path"]] = self.blobs[value["oid"]]
            return {"commitUrl": f"{self.address}/me/it/commit/1", "commitOid": "1" * 40}
        return {}


@contextmanager
def hub() -> Iterator[Hub]:
    """On a port of this machine until the block ends."""
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.split("?")[0]
            state.asked.append(f"{self.command} {path}")
            if not path.startswith("/blob/"):
                state.tokens.add(self.headers.get("Authorization"))
            code, said = 200, b"{}"
            if any(part in path for part in state.refuses):
                code, said = 403, b'{"error": "not for you"}'
            elif self.command == "GET":
                code, said = 404, b'{"error": "there is none yet"}'
            elif path.startswith("/blob/"):
                state.blobs[path.rsplit("/", 1)[-1]] = body
            else:
                said = json.dumps(state.answer(path, body)).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_PUT = _serve

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
