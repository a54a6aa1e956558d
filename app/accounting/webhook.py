"""The webhook for notices: JSON posted to the operator's URL, which may hold a token and is in no log and no error."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256

from aiohttp import ClientError, ClientTimeout
from pydantic import SecretStr

from app.backends.http_transport import open_session
from app.settings.addresses import proxy_for

TIMEOUT_S = 4.0
IDLE_S = 30.0
SIGNATURE = "X-Conviction-Signature"


class Webhook:
    """Posts to one URL, and signs what it posts if there is a secret. Needs a running event loop."""

    def __init__(self, url: SecretStr, secret: SecretStr | None = None) -> None:
        self._url, self._secret = url, secret
        self._proxy = proxy_for(url.get_secret_value())
        self._session = open_session(IDLE_S, {})

    async def post(self, body: bytes) -> str | None:
        """Post a JSON document; return None if the receiver accepts it, otherwise what failed, without the URL."""
        try:
            async with self._session.post(
                self._url.get_secret_value(),
                data=body,
                headers=self._signature(body),
                proxy=self._proxy,
                allow_redirects=False,
                timeout=ClientTimeout(total=TIMEOUT_S),
            ) as response:
                return None if 200 <= response.status < 300 else f"status {response.status}"
        except (ClientError, OSError) as error:  # TimeoutError is an OSError; their texts may hold the URL
            return type(error).__name__

    async def close(self) -> None:
        await self._session.close()

    def _signature(self, body: bytes) -> Mapping[str, str]:
        if self._secret is None:
            return {}
        digest = hmac.new(self._secret.get_secret_value().encode(), body, sha256).hexdigest()
        return {SIGNATURE: f"sha256={digest}"}
