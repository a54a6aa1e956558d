"""The examples of the OpenAPI document: requests with the case study's SNPS figures, and recorded responses.

The rule-based analyst wrote the recorded answers, as their `stand_in` states. `python -m tests.api.record_examples`
records them again.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from app.contract.fingerprint import EXAMPLE

REQUESTS: dict[str, Any] = {
    "full": {
        "summary": "SNPS with metrics, with an analysis",
        "value": {"ticker": "SNPS", "metrics": EXAMPLE.document()},
    },
    "brief": {
        "summary": "The same, action and conviction only",
        "value": {"ticker": "SNPS", "metrics": EXAMPLE.document(), "detail": "brief"},
    },
    "ticker": {
        "summary": "A ticker, whose metrics the gateway looks up",
        "value": {"ticker": "AAPL", "detail": "brief"},
    },
}

RECORDED: dict[str, Any] = json.loads((files("app.api") / "examples.json").read_text("utf-8"))
"""Examples by operation (such as `GET /v1/keys`), status, media type and name."""
