"""Headers and proxies of requests."""

from __future__ import annotations

import traceback

import pytest
from aiohttp import ClientError
from pydantic import SecretStr

from app.backends.http_transport import NO_KEY, HttpTransport
from app.settings.addresses import proxy_for

from .conftest import KEY, Make, Script, http


async def test_a_server_without_keys_is_not_sent_one_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    transport = HttpTransport(None, 1.0)
    assert transport._session.headers["Authorization"] == f"Bearer {NO_KEY}"
    await transport.close()


async def test_the_key_is_in_no_repr() -> None:
    transport = HttpTransport(SecretStr(KEY), 1.0)
    assert KEY not in repr(transport) + repr(vars(transport))
    with pytest.raises(ClientError) as raised:
        await transport.models("http://127.0.0.1:9/v1", None)
    assert KEY not in "".join(traceback.format_exception(raised.value))
    await transport.close()


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://api.openai.com/v1", "http://proxy:3128"),
        ("http://vllm.example:8000/v1", None),
        ("https://inside.example/v1", None),
        ("https://127.0.0.1:8000/v1", None),
        ("https://localhost/v1", None),
        ("https://[::1]/v1", None),
    ],
)
def test_the_environment_s_proxy_is_used_where_it_applies(
    url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert proxy_for(url) == proxy


async def test_requests_go_to_the_proxy(make: Make, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = await script(http("200 OK", '{"data": [{"id": "gpt-4.1"}]}'))
    monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    await make("gpt-4", "http://models.invalid/v1").check()
    assert proxy.connections == 1
