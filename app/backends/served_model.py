"""The model that a backend's calls name: the configured one, or one that a server offers for this contract."""

from __future__ import annotations

from aiohttp import ClientError
from pydantic import ValidationError

from app.backends.dialects import Dialect
from app.backends.endpoints import Endpoint
from app.backends.events import ModelList
from app.backends.transport import MODEL_LIST_MAX_BYTES, Transport, read_body
from app.backends.upstream_errors import RETRY_AFTER_S, CallFailed, read_refusal, unreachable
from app.errors import BackendUnavailable, NotConfigured


class ServedModel:
    """A backend's name and model.

    Without `configured`, the servers are asked for their models, and the id must end in `fingerprint` (of the contract)
    if that is given.
    """

    def __init__(self, name: str, dialect: Dialect, configured: str | None, fingerprint: str) -> None:
        self.name = name
        self.dialect = dialect
        self.configured = configured or ""
        self.model = self.configured
        """Empty until a server has reported it."""
        self.stand_in: bool | None = None
        """Whether a rule-based stand-in answers in place of the model; None until a server has reported it."""
        self._fingerprint = fingerprint

    async def discover(self, endpoint: Endpoint, transport: Transport) -> None:
        """Set the endpoint's model. Raises `CallFailed` if it serves no suitable one."""
        served = await self._list_models(endpoint, transport)
        if not served:
            raise CallFailed(
                BackendUnavailable(f"{self.name} lists no models", retry_after=RETRY_AFTER_S), failover=True
            )
        if self.configured:
            if self.configured not in served:
                setting = self.dialect.model_setting
                raise CallFailed(NotConfigured(f"{self.name} does not serve {self.configured}: check {setting}"))
            return
        model = next((model for model in served if model.endswith(self._fingerprint)), None)
        if model is None:
            mismatch = BackendUnavailable(
                f"{self.name} serves no model made for this gateway's contract, whose fingerprint is "
                f"{self._fingerprint}; CONVICTION_ALLOW_FOREIGN_MODEL=1 accepts any model"
            )
            raise CallFailed(mismatch, failover=True)
        self.model = endpoint.model = model

    async def _list_models(self, endpoint: Endpoint, transport: Transport) -> list[str]:
        try:
            response = await transport.models(endpoint.url, endpoint.proxy)
            if response.status != 200:
                raise await read_refusal(self.name, self.dialect, response)
            self.stand_in = response.headers.get("X-Stand-In") == "true"
            document = await read_body(response, MODEL_LIST_MAX_BYTES)
        except (ClientError, OSError):
            raise unreachable(self.name) from None
        try:
            return [model.id for model in ModelList.model_validate_json(document).data]
        except ValidationError:
            return []
