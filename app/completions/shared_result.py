"""The result of a call as other requests read it: from the cache, or from the call's leader in another gateway."""

from __future__ import annotations

import logging
from hashlib import sha256

from pydantic import TypeAdapter
from pydantic_core import to_json

from app.contract.completion import Completion
from app.contract.prompt import Detail
from app.contract.recommendation import Answer, parse
from app.errors import (
    BackendError,
    BackendUnavailable,
    DeadlineExceeded,
    Overloaded,
    StoreUnavailable,
    UnparsedAnswer,
)
from app.stores.shared_calls import CallResult

COMPLETION = TypeAdapter(Completion)
VERSION = sha256(to_json(COMPLETION.json_schema())).hexdigest()
"""Of the stored form, for the keys of results: gateways with different forms share none."""

ERRORS = {
    error.code: error
    for error in (BackendError, UnparsedAnswer, BackendUnavailable, DeadlineExceeded, Overloaded, StoreUnavailable)
}
"""The errors of a call that its followers raise, too; another code is a `BackendError`."""

log = logging.getLogger(__name__)


def read_completion(value: bytes, detail: Detail) -> tuple[Answer, Completion] | None:
    """Return the stored answer and completion; None, which is logged, if the value cannot be read."""
    try:
        completion = COMPLETION.validate_json(value)
        return parse(detail, completion.text), completion
    except ValueError as error:
        log.warning("a stored completion cannot be read, and is made again: %s", type(error).__name__)
        return None


def raise_error(result: CallResult, backend: str) -> None:
    """Raise the error of a call that failed."""
    if result.error is not None:
        detail = f"{backend} failed the request that this one shared a call with"
        error = ERRORS.get(result.error, BackendError)(detail)
        error.retry_after = result.retry_after
        raise error.of_shared_call()
