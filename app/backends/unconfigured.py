"""A backend without its settings."""

from __future__ import annotations

from typing import NoReturn

from app.backends.base import BreakerState
from app.contract.completion import BackendName, Completion
from app.errors import NotConfigured


class UnconfiguredBackend:
    """Raises `NotConfigured`, which names the missing setting, for every call."""

    breaker: BreakerState = "closed"
    stand_in: bool | None = None

    def __init__(self, name: BackendName, setting: str, model: str = "") -> None:
        self.name = name
        self.model = model
        self._setting = setting

    def _fail(self, *_: object, **__: object) -> NoReturn:
        raise NotConfigured(f"{self.name} is not set up: set {self._setting}")

    body = answer = chat = _fail

    async def complete(self, *_: object, **__: object) -> Completion:
        self._fail()

    async def check(self) -> None:
        self._fail()

    async def discover_model(self) -> None:
        return None

    async def close(self) -> None:
        return None
