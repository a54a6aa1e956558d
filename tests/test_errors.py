from __future__ import annotations

import pytest

from app.errors import BackendError, ConvictionError, InvalidRequest, MethodNotAllowed, RateLimited, StoreUnavailable


@pytest.mark.parametrize(
    "error",
    [
        BackendError("mistral failed", retry_after=2),
        StoreUnavailable("Redis did not answer"),
        RateLimited("the key's limit is 3 requests a minute", scope="key", reason="requests", retry_after=5),
        InvalidRequest("ticker is missing", fields=[("ticker", "missing")]),
        MethodNotAllowed("use GET", allow="GET"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_error_of_a_shared_call_is_the_same_but_for_that(error: ConvictionError) -> None:
    shared = error.of_shared_call()
    assert (type(shared), str(shared), shared.headers()) == (type(error), str(error), error.headers())
    assert vars(shared) == {**vars(error), "shared": True}
    assert (error.shared, shared.shared) == (False, True)
