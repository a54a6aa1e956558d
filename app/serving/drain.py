"""The flag that readiness and the server share while the gateway shuts down."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Drain:
    """Whether the gateway is shutting down: it still answers, and reports itself as not ready."""

    started: bool = False
