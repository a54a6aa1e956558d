"""The error codes of failed answers as the numbers that records store."""

from __future__ import annotations

FAILURES = (
    *("", "internal_error", "client_gone", "unknown_backend", "unauthorized", "forbidden", "not_found"),
    *("method_not_allowed", "conflict", "idempotency_conflict", "too_large", "unsupported_media_type"),
    *("invalid_request", "invalid_metrics", "rate_limited", "budget_exceeded", "unknown_ticker"),
    *("insufficient_history", "market_data_unavailable", "market_data_rate_limited", "backend_error"),
    *("unparsed_answer", "backend_unavailable", "deadline_exceeded", "overloaded", "store_unavailable"),
    *("decision_log_unavailable", "feedback_conflict"),
)
"""Error codes; empty for none. Records store the index, so new codes are appended."""
UNKNOWN, UNKNOWN_INDEX = "unknown", 2**8 - 1
"""A code that this version of the gateway does not know."""


def failure_index(code: str | None) -> int:
    """Return the number of an error code; 0 for no error."""
    return FAILURES.index(code or "") if (code or "") in FAILURES else UNKNOWN_INDEX


def failure_code(index: int) -> str | None:
    """Return the error code of a record's index; None for no error."""
    return FAILURES[index] or None if index < len(FAILURES) else UNKNOWN
