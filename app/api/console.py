"""The console at /: a page and its files, read once when the gateway starts.

The files stand in a folder named after all their contents, so that browsers keep them for good; the page, which names
that folder, is asked about each time. Neither needs a key: what they show is asked for with one.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from app.errors import NotFound

PAGE, PLACEHOLDER = "index.html", b"EDITION"
FOLDER = "/console/"
MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""No script but the files', none made from text, nothing from or to anybody else, in nobody's frame."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}
ASK_AGAIN, FOR_GOOD = "no-cache", "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class File:
    """A file as it is sent, and as it is sent to whoever unpacks it."""

    content: bytes
    packed: bytes
    media_type: str
    digest: str

    @classmethod
    def of(cls, name: str, content: bytes) -> File:
        """Raises `KeyError` where browsers are told nothing of files that end so."""
        media_type = MEDIA_TYPES[name.rpartition(".")[2]]
        return cls(content, gzip.compress(content, mtime=0), media_type, sha256(content).hexdigest()[:16])

    def response(self, request: Request, caching: str) -> Response:
        """The file, or word that the browser's copy is the same."""
        packed = "gzip" in request.headers.get("accept-encoding", "")
        etag = f'"{self.digest}{"-gzip" if packed else ""}"'
        headers = HEADERS | {"ETag": etag, "Cache-Control": caching}
        known = request.headers.get("if-none-match", "").replace("W/", "")
        if etag in (part.strip() for part in known.split(",")):
            return Response(status_code=304, headers=headers)
        if packed:
            return Response(self.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=self.media_type)
        return Response(self.content, headers=headers, media_type=self.media_type)


def add_console(app: FastAPI) -> None:
    """Serve the page at /, and its files under /console/."""
    found, edition = read()

    async def page(request: Request) -> Response:
        return found[PAGE].response(request, ASK_AGAIN)

    async def file(request: Request) -> Response:
        asked, name = request.path_params["edition"], request.path_params["name"]
        if name not in found or name == PAGE:
            raise NotFound("the console has no such file")
        # While gateways of two editions share an address, either gives what it has, to be kept by nobody.
        return found[name].response(request, FOR_GOOD if asked == edition else ASK_AGAIN)

    app.add_route("/", page, include_in_schema=False)
    app.add_route(FOLDER + "{edition}/{name}", file, include_in_schema=False)


def read() -> tuple[dict[str, File], str]:
    """The console's files by name, and their edition, which the page names."""
    contents = {entry.name: entry.read_bytes() for entry in (files("app") / "console").iterdir() if entry.is_file()}
    whole = sha256(b"".join(name.encode() + content for name, content in sorted(contents.items())))
    edition = whole.hexdigest()[:12]
    contents[PAGE] = contents[PAGE].replace(PLACEHOLDER, edition.encode())
    return {name: File.of(name, content) for name, content in contents.items()}, edition
