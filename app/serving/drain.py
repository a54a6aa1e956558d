"""Whether the gateway is about to stop."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Drain:
    """Whether the gateway is about to stop: it still answers, and asks to be sent nothing more."""

    begun: bool = False
