"""The console at /: a page and its files, read when the gateway starts.

The URL of a file contains a hash of all files, so that browsers cache the files forever; the page, which contains these
URLs, is revalidated. Neither needs an API key; the requests that the console sends do.
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
    "txt": "text/plain; charset=utf-8",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Only the console's own files run, requests go to this origin only, and no other site may frame the page."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}
REVALIDATE, IMMUTABLE = "no-cache", "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class File:
    """A file, plain and compressed."""

    content: bytes
    compressed: bytes
    media_type: str
    digest: str

    @classmethod
    def of(cls, name: str, content: bytes) -> File:
        """Raises `KeyError` for a suffix without a media type."""
        media_type = MEDIA_TYPES[name.rpartition(".")[2]]
        return cls(content, gzip.compress(content, mtime=0), media_type, sha256(content).hexdigest()[:16])

    def response(self, request: Request, caching: str) -> Response:
        """Return the file, or 304 if the browser has it."""
        compressed = "gzip" in request.headers.get("accept-encoding", "")
        etag = f'"{self.digest}{"-gzip" if compressed else ""}"'
        headers = HEADERS | {"ETag": etag, "Cache-Control": caching}
        known = request.headers.get("if-none-match", "").replace("W/", "")
        if etag in (part.strip() for part in known.split(",")):
            return Response(status_code=304, headers=headers)
        content = self.compressed if compressed else self.content
        encoding = {"Content-Encoding": "gzip"} if compressed else {}
        return Response(content, headers=headers | encoding, media_type=self.media_type)


def add_console(app: FastAPI) -> None:
    """Serve the page at /, and its files under /console/."""
    contents, edition = read_files()

    async def page(request: Request) -> Response:
        return contents[PAGE].response(request, REVALIDATE)

    async def file(request: Request) -> Response:
        requested, name = request.path_params["edition"], request.path_params["name"]
        if name not in contents or name == PAGE:
            raise NotFound("the console has no such file")
        # During a rollout, gateways of two editions share an address: browsers must not cache the wrong edition.
        return contents[name].response(request, IMMUTABLE if requested == edition else REVALIDATE)

    app.add_route("/", page, include_in_schema=False)
    app.add_route(FOLDER + "{edition}/{name}", file, include_in_schema=False)


def read_files() -> tuple[dict[str, File], str]:
    """Return the console's files by name, and their edition: a hash of all files."""
    contents = {entry.name: entry.read_bytes() for entry in (files("app") / "console").iterdir() if entry.is_file()}
    whole = sha256(b"".join(name.encode() + content for name, content in sorted(contents.items())))
    edition = whole.hexdigest()[:12]
    contents[PAGE] = contents[PAGE].replace(PLACEHOLDER, edition.encode())
    return {name: File.of(name, content) for name, content in contents.items()}, edition
