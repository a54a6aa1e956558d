"""The webhook over HTTP: what is sent, how it is signed, and what a failure reveals."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from app.accounting import webhook
from app.accounting.webhook import SIGNATURE, Webhook
from tests.accounting.receiver import Receiver

BODY = b'{"id":"one"}'


@asynccontextmanager
async def opened(url: str, secret: str | None = None) -> AsyncIterator[Webhook]:
    opened = Webhook(SecretStr(url), None if secret is None else SecretStr(secret))
    try:
        yield opened
    finally:
        await opened.close()


async def test_the_body_is_sent_as_json_without_a_signature(receiver: Receiver) -> None:
    async with opened(receiver.url) as hook:
        assert await hook.post(BODY) is None
    [(headers, body)] = receiver.requests
    assert (body, headers["content-type"]) == (BODY, "application/json")
    assert SIGNATURE.lower() not in headers


async def test_the_signature_is_the_body_s_hmac(receiver: Receiver) -> None:
    async with opened(receiver.url, "key-of-tests") as hook:
        assert await hook.post(BODY) is None
    [(headers, body)] = receiver.requests
    assert headers[SIGNATURE.lower()] == f"sha256={hmac.digest(b'key-of-tests', body, 'sha256').hex()}"


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
async def test_a_refusal_is_a_failure(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status]
    async with opened(receiver.url) as hook:
        assert await hook.post(BODY) == f"status {status}"


@pytest.mark.parametrize("status", [302, 307, 308])
async def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status]
    async with opened(receiver.url) as hook:
        assert await hook.post(BODY) == f"status {status}"
    assert (receiver.requests, receiver.refused) == ([], 1)


async def test_a_receiver_that_does_not_answer_is_a_failure(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "TIMEOUT_S", 0.1)
    receiver.delay_s = 0.4
    async with opened(receiver.url) as hook:
        assert "Timeout" in str(await hook.post(BODY))


async def test_a_failure_does_not_show_the_url() -> None:
    async with opened("http://user-hush:hush@127.0.0.1:1/hush?hush=1") as hook:
        problem = await hook.post(BODY)
    assert problem
    assert "hush" not in problem and "127.0.0.1" not in problem
