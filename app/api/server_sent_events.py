"""Server-sent events, as the WHATWG's HTML standard has them: a name, a line of JSON, an empty line."""

from __future__ import annotations

import json
from typing import Any

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""Kept by no cache, and held back by no nginx."""


def event(name: str, document: bytes) -> bytes:
    """An event whose data is a JSON document on one line."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), document)


def dumped(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
