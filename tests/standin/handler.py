"""The HTTP of the stand-in: one connection's requests, and the faults that happen on the wire."""

from __future__ import annotations

import base64
import json
import re
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from standin.errors import ApiError
from standin.faults import LATE_REQUESTS, STATUS_FAULTS, Fault

if TYPE_CHECKING:
    from standin.server import Request, StandIn

API = re.compile(r"/api/v1/[\w.]+/(\w+)")
LOG_STREAM = re.compile(r"/api/v1/kernels/logs/stream/([\w-]+)/([\w/-]+)")
LIVE_PAUSE = 0.05  # seconds between looks at a running session's log


class Handler(BaseHTTPRequestHandler):
    """Answers as Kaggle does; `self.server.standin` knows everything."""

    protocol_version = "HTTP/1.1"
    server_version = "standin"

    @property
    def standin(self) -> StandIn:
        """The server that this connection belongs to."""
        return self.server.standin  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the console."""

    def do_CONNECT(self) -> None:
        """A client wants out to the internet: never."""
        self.standin.record("CONNECT", self.path, "CONNECT", "", {})[0].status = 502
        self.send_error(502, "the stand-in lets nothing out")
        self.close_connection = True

    def do_POST(self) -> None:
        """API calls."""
        path = urlsplit(self.path).path
        text = self.read_body()
        if len(text) < int(self.headers.get("Content-Length", 0)):  # the client died in the middle
            self.close_connection = True
            return
        body = json.loads(text or b"{}")
        found = API.fullmatch(path)
        route = found[1] if found and self.is_local() else "POST"
        request, fault = self.standin.record("POST", path, route, self.user(), body)
        self.answer(request, fault, lambda: self.standin.call(route, request.user, body, fault))

    def do_GET(self) -> None:
        """Output files, stored dataset files, the log stream."""
        path = unquote(urlsplit(self.path).path)
        request, fault = self.standin.record("GET", path, "GET", self.user(), {})
        if log := LOG_STREAM.fullmatch(path):
            self.answer(request, fault, lambda: {"stream": (log[1], log[2])})
        else:
            self.answer(request, fault, lambda: {"file": str(self.stored_file(path))})

    def do_PUT(self) -> None:
        """The bytes of an upload, whole or resumed."""
        path = urlsplit(self.path).path
        request, fault = self.standin.record("PUT", path, "PUT", "", {})
        store = self.standin.store
        blob = store.world.blobs.get(path.rpartition("/")[2]) if self.is_local() else None
        if blob is None:
            self.read_body()
            self.reply(request, 404, b"")
            return
        target = store.blob_path(blob.token)
        content_range = re.fullmatch(r"bytes (\d+)-\d+/\d+", self.headers.get("Content-Range", ""))
        if "*" not in self.headers.get("Content-Range", ""):
            start = int(content_range[1]) if content_range else 0
            data = self.read_body()
            if fault is not None and fault.kind == "timeout-before":  # the line broke half way
                data = data[: len(data) // 2]
            if fault is None or fault.kind not in STATUS_FAULTS or fault.kind.endswith("-after"):
                with open(target, "r+b") as file:
                    file.seek(start)
                    file.write(data)
                    file.truncate()
        else:
            self.read_body()
        request.body = {"token": blob.token, "name": blob.name, "received": target.stat().st_size}
        self.answer(request, fault, lambda: {"upload": blob.token})

    def is_local(self) -> bool:
        """Whether the request is for us: in absolute form for localhost, or sent directly."""
        return urlsplit(self.path).hostname in (None, "localhost", "127.0.0.1")

    def user(self) -> str:
        """Whose credentials came along; empty when they are wrong or missing."""
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        standin = self.standin
        wanted = base64.b64encode(f"{standin.user}:{standin.key}".encode()).decode()
        right = {"Basic": wanted, "Bearer": standin.token}
        return standin.user if kind in right and value == right[kind] else ""

    def read_body(self) -> bytes:
        """The body, of a promised length or in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def stored_file(self, path: str) -> Path:
        """The file behind /files/<session>/<name> or /stored/<blob>/<name>."""
        store = self.standin.store
        kind, _, rest = path.strip("/").partition("/")
        owner, _, name = rest.partition("/")
        folder = store.folder / "sessions" / owner / "output"
        found = folder / name if kind == "files" else store.blob_path(owner)
        if kind not in ("files", "stored") or not found.is_file():
            raise ApiError(404, "Not found")
        return found

    def answer(self, request: Request, fault: Fault | None, act: Any) -> None:
        """Let the call take effect and answer it, with the fault at its place."""
        kind = fault.kind if fault else ""
        if fault is not None and kind in ("slow", "timeout-before"):
            time.sleep(fault.seconds)
        if kind == "timeout-before":
            self.close_connection = True
            return
        if kind in STATUS_FAULTS and not kind.endswith("-after"):
            self.reply_error(request, ApiError(*STATUS_FAULTS[kind]))
            return
        if kind == "timeout-late":
            self.standin.later.append((request.index + LATE_REQUESTS, act))
            self.close_connection = True
            return
        try:
            answer = act()
        except ApiError as error:
            self.reply_error(request, error)
            return
        if fault is not None and kind == "timeout-after":
            time.sleep(fault.seconds)
            self.close_connection = True
        elif kind == "http-500-after":
            self.reply_error(request, ApiError(*STATUS_FAULTS[kind]))
        else:
            self.send(request, answer, cut=kind == "truncated")

    def send(self, request: Request, answer: dict[str, Any], cut: bool) -> None:
        """Put an answer on the wire, half of it when it is to be cut."""
        if "stream" in answer:
            owner, slug = answer["stream"]
            self.send_log(request, owner, slug, cut)
        elif "file" in answer:
            path = Path(answer["file"])
            changed = {"Last-Modified": formatdate(path.stat().st_mtime, usegmt=True), "Accept-Ranges": "none"}
            self.reply(request, 200, path.read_bytes(), "application/octet-stream", changed, cut)
        elif "redirect" in answer:
            self.reply(request, 302, b"", "text/plain", {"Location": answer["redirect"]})
        elif "upload" in answer:
            blob = self.standin.store.world.blobs[answer["upload"]]
            have = self.standin.store.blob_path(blob.token).stat().st_size
            if have >= blob.size:
                self.reply(request, 200, b"{}", cut=cut)
            else:
                self.reply(request, 308, b"", headers={"Range": f"bytes=0-{have - 1}"} if have else {})
        else:
            self.reply(request, 200, json.dumps(answer).encode(), cut=cut)

    def reply_error(self, request: Request, error: ApiError) -> None:
        """An error as Kaggle words it."""
        headers = {"Retry-After": "0"} if error.code == 429 else {}
        self.reply(request, error.code, json.dumps({"code": error.code, "message": error.message}).encode(),
                   headers=headers)

    def reply(self, request: Request, status: int, data: bytes, kind: str = "application/json",
              headers: dict[str, str] | None = None, cut: bool = False) -> None:
        """One whole answer, or its head and half of its body."""
        request.status = status
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.close_connection = True

    def send_log(self, request: Request, owner: str, slug: str, cut: bool) -> None:
        """The log of a session: as events while it runs, as a JSON array afterwards."""
        try:
            _, version = self.standin._kernels.find({"userName": owner, "kernelSlug": slug})
        except ApiError as error:
            self.reply_error(request, error)
            return
        session = version.session
        if session.status not in ("QUEUED", "RUNNING"):
            self.reply(request, 200, json.dumps(session.log).encode(), cut=cut)
            return
        request.status = 200
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        sent, over = 0, False
        while not over:
            over = session.status not in ("QUEUED", "RUNNING")
            for event in session.log[sent:]:
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                sent += 1
            self.wfile.flush()
            time.sleep(0 if over else LIVE_PAUSE)
        self.wfile.write(b"data: END_OF_LOG\n\n")
        self.close_connection = True
