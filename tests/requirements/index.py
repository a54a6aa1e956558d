"""A package index on loopback, and packages of a few lines to put into it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from zipfile import ZipFile


@dataclass(frozen=True)
class Package:
    """A wheel of one module, `ballast` random-looking bytes beside it."""

    name: str
    ballast: bytes = b""

    @property
    def file(self) -> str:
        return f"{self.name}-1.0-py3-none-any.whl"

    @property
    def wheel(self) -> bytes:
        info = f"{self.name}-1.0.dist-info"
        files = {
            f"{self.name}.py": b"VALUE = 1\n",
            f"{self.name}.bin": self.ballast,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {self.name}\nVersion: 1.0\n".encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD")).encode()
        buffer = BytesIO()
        with ZipFile(buffer, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return buffer.getvalue()


@dataclass
class Index:
    """A running index. What `stalled` names is asked for, and not sent before `released`."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    stalled: str = ""
    asked: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def publish(self, package: Package) -> str:
        """Offer a package; return the line that pins it."""
        self.files[package.file] = package.wheel
        return f"{package.name}==1.0 --hash=sha256:{sha256(self.files[package.file]).hexdigest()}\n"

    def page(self, name: str) -> bytes | None:
        """Return the list of a package's files (PEP 503)."""
        links = [f'<a href="/files/{file}">{file}</a>' for file in self.files if file.startswith(f"{name}-")]
        return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode() if links else None


@contextmanager
def serving() -> Iterator[Index]:
    index = Index()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, _, name = self.path.strip("/").partition("/")
            index.requests.append(name)
            if index.stalled and name == index.stalled:
                index.asked.set()
                index.released.wait()
            content = index.files.get(name) if kind == "files" else index.page(name)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Type", "text/html" if kind == "pages" else "application/octet-stream")
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def handle(self) -> None:
            with suppress(OSError):  # the client was killed meanwhile
                super().handle()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    index.url = f"http://127.0.0.1:{server.server_port}/pages"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield index
    finally:
        index.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
