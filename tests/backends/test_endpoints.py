"""Which server is asked next."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from app.backends.endpoints import NO_KEY, Endpoint, connect, least_busy


@pytest.fixture
async def three() -> AsyncIterator[list[Endpoint]]:
    async with AsyncExitStack() as stack:
        clients = [connect(f"http://127.0.0.1:{port}/v1", None) for port in (1, 2, 3)]
        yield [Endpoint(await stack.enter_async_context(client)) for client in clients]


def test_the_least_busy_one(three: list[Endpoint]) -> None:
    with three[0].asked(), three[1].asked():
        assert least_busy(three) is three[2]
    assert least_busy(three) is three[0]


def test_not_one_that_just_failed(three: list[Endpoint]) -> None:
    three[0].failed()
    with three[1].asked(), three[2].asked(), three[2].asked():
        assert least_busy(three) is three[1]
    three[0].answered(1.0)
    assert least_busy(three) is three[0]


def test_where_all_failed_the_least_busy_one(three: list[Endpoint]) -> None:
    for endpoint in three:
        endpoint.failed()
    with three[0].asked():
        assert least_busy(three) is three[1]


def test_calls_that_raise_are_counted_off(three: list[Endpoint]) -> None:
    with pytest.raises(ValueError, match="x"), three[0].asked():
        raise ValueError("x")
    assert three[0].outstanding == 0


def test_a_server_without_keys_is_not_sent_one_from_the_environment(
    three: list[Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    assert connect("http://127.0.0.1:1/v1", None).api_key == NO_KEY
