"""When a server says to come back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from openai import APIError, AsyncOpenAI, DefaultAioHttpClient, RateLimitError

from app.backends.upstream_errors import retry_after

from .conftest import Script, http


async def refusal(script: Script, *headers: str) -> APIError:
    server = await script(http("429 Slow down", "{}", *headers))
    client = AsyncOpenAI(
        base_url=server.url, api_key="none", max_retries=0, http_client=DefaultAioHttpClient(trust_env=False)
    )
    async with client:
        with pytest.raises(RateLimitError) as raised:
            await client.models.list()
    return raised.value


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2", 2), ("0.5", 0.5), ("-3", 0), ("nan", 0), ("inf", 3600), ("86400", 3600), ("soon", None), ("", None)],
)
async def test_seconds(value: str, seconds: float | None, script: Script) -> None:
    assert retry_after(await refusal(script, f"retry-after: {value}")) == seconds


async def test_a_date(script: Script) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=40)
    for value in (format_datetime(moment, usegmt=True), format_datetime(moment.replace(tzinfo=None))):
        seconds = retry_after(await refusal(script, f"retry-after: {value}"))
        assert seconds is not None
        assert 35 < seconds <= 40


async def test_no_header(script: Script) -> None:
    assert retry_after(await refusal(script)) is None
