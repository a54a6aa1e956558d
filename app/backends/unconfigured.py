"""A backend that has not been set up: known by name, and saying which setting is missing."""

from __future__ import annotations

from collections.abc import Sequence

from app.backends.base import BackendName, Completion
from app.contract.prompt import Detail, Message
from app.errors import NotConfigured


class Unconfigured:
    """Answers nothing; `model` is what would be asked for, empty where only a server could say."""

    def __init__(self, name: BackendName, setting: str, model: str = "") -> None:
        self.name = name
        self.model = model
        self._setting = setting

    async def complete(self, messages: Sequence[Message], detail: Detail) -> Completion:  # noqa: ARG002
        raise self._error()

    async def check(self) -> None:
        raise self._error()

    async def close(self) -> None:
        return None

    def _error(self) -> NotConfigured:
        return NotConfigured(f"{self.name} is not set up: set {self._setting}")
