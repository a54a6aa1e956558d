"""Small bodies that are expensive to parse, at every path that accepts a body."""

from __future__ import annotations

import gzip

import pytest

from app.main import create_app
from app.settings.gateway import Settings
from tests.doubles import EXAMPLE_BODY, Gateway
from tests.threats.conftest import KEY

JSON = {"Content-Type": "application/json", "X-API-Key": KEY}
PATHS = (
    "/v1/recommendations",
    "/v1/recommendations/batch",
    "/v1/comparisons",
    "/v1/chat/completions",
    "/v1/keys",
    "/v1/feedback",
)
MAX_BYTES = 4 * 1024 * 1024
"""The largest body that any path accepts, a batch."""


def test_these_are_all_paths_that_accept_a_body() -> None:
    document = create_app(Settings()).openapi()
    operations = [(path, each) for path, of_path in document["paths"].items() for each in of_path.values()]
    assert {path for path, each in operations if "requestBody" in each} == set(PATHS)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body",
    [b"[" * 50_000, b'{"a":' * 10_000, b'{"messages": ' + b"[" * 50_000, b'{"items": ' + b"[" * 50_000],
    ids=["arrays", "objects", "messages", "items"],
)
async def test_a_deep_body_is_refused(running_with_keys: Gateway, path: str, body: bytes) -> None:
    response = await running_with_keys.client.post(path, content=body, headers=JSON)
    assert response.status_code == 422
    assert running_with_keys.asked == 0


@pytest.mark.parametrize("path", PATHS)
async def test_an_oversized_body_is_refused_before_it_is_read(running_with_keys: Gateway, path: str) -> None:
    headers = JSON | {"Content-Length": str(MAX_BYTES + 1)}
    response = await running_with_keys.client.post(path, content=b"", headers=headers)
    assert response.status_code == 413
    assert running_with_keys.asked == 0


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """Thirty megabytes of spaces, compressed to less than any path's limit."""
    packed = gzip.compress(b" " * 30_000_000)
    assert len(packed) < 60_000
    return packed


@pytest.mark.parametrize("path", PATHS)
async def test_a_packed_body_is_not_unpacked(running_with_keys: Gateway, path: str, bomb: bytes) -> None:
    """The compressed bytes are not JSON, and the gateway does not decompress them."""
    response = await running_with_keys.client.post(path, content=bomb, headers=JSON | {"Content-Encoding": "gzip"})
    assert response.status_code == 422
    assert running_with_keys.asked == 0


async def test_a_number_of_a_million_digits_is_refused(running_with_keys: Gateway) -> None:
    body = b'{"items": [' + b"1" * 1_000_000 + b"]}"
    response = await running_with_keys.client.post("/v1/recommendations/batch", content=body, headers=JSON)
    assert response.status_code in (200, 422)
    assert running_with_keys.asked == 0
    assert (
        await running_with_keys.client.post("/v1/recommendations", json=EXAMPLE_BODY, headers=JSON)
    ).status_code == 200
