"""Which model a server is asked for: the one configured, or the one it serves for this gateway's contract."""

from __future__ import annotations

from aiohttp import ClientError
from pydantic import ValidationError

from app.backends.dialects import Dialect
from app.backends.endpoints import Endpoint
from app.backends.events import Listing
from app.backends.origin import LISTING_MAX, Origin, read
from app.backends.upstream_errors import RETRY_AFTER_S, CallFailed, refusal, unreachable
from app.errors import BackendUnavailable, NotConfigured


class Identity:
    """What a backend is called, and the model that must answer for it.

    Without `configured`, servers are asked which models they have, and the id must end in `made_for` (a
    contract's fingerprint) if that is given.
    """

    def __init__(self, name: str, dialect: Dialect, configured: str | None, made_for: str) -> None:
        self.name = name
        self.dialect = dialect
        self.configured = configured or ""
        self.model = self.configured
        """Empty until a server has said."""
        self.stand_in: bool | None = None
        """Whether a rule-based stand-in serves in the model's place; None until a server has said."""
        self._made_for = made_for

    async def learn(self, endpoint: Endpoint, origin: Origin) -> None:
        """Set the endpoint's model. Raises `CallFailed` where it serves none that would do."""
        served = await self._served(endpoint, origin)
        if not served:
            raise CallFailed(
                BackendUnavailable(f"{self.name} lists no models", retry_after=RETRY_AFTER_S), elsewhere=True
            )
        if self.configured:
            if self.configured not in served:
                setting = self.dialect.model_setting
                raise CallFailed(NotConfigured(f"{self.name} does not serve {self.configured}: check {setting}"))
            return
        model = next((model for model in served if model.endswith(self._made_for)), None)
        if model is None:
            foreign = BackendUnavailable(
                f"{self.name} serves no model made for this gateway's contract, whose fingerprint is "
                f"{self._made_for}; CONVICTION_ALLOW_FOREIGN_MODEL=1 takes any"
            )
            raise CallFailed(foreign, elsewhere=True)
        self.model = endpoint.model = model

    async def _served(self, endpoint: Endpoint, origin: Origin) -> list[str]:
        try:
            response = await origin.models(endpoint.url, endpoint.proxy)
            if response.status != 200:
                raise await refusal(self.name, self.dialect, response)
            self.stand_in = response.headers.get("X-Stand-In") == "true"
            listing = await read(response, LISTING_MAX)
        except (ClientError, OSError):
            raise unreachable(self.name) from None
        try:
            return [model.id for model in Listing.model_validate_json(listing).data]
        except ValidationError:
            return []
