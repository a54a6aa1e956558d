"""Server-sent events of the WHATWG HTML standard: an event name, one line of JSON, an empty line."""

from __future__ import annotations

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""No cache stores the stream, and nginx does not buffer it."""


def event(name: str, document: bytes) -> bytes:
    """Return an event whose data is a JSON document on one line."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), document)
