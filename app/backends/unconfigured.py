"""A backend without its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from app.backends.base import BreakerState, ChatStream, Stream
from app.contract.completion import BackendName, Completion
from app.contract.prompt import Detail, Message
from app.deadline import Deadline
from app.errors import NotConfigured


class UnconfiguredBackend:
    """Raises `NotConfigured`, which names the missing setting, for every call."""

    breaker: BreakerState = "closed"
    stand_in: bool | None = None

    def __init__(self, name: BackendName, setting: str, model: str = "") -> None:
        self.name = name
        self.model = model
        self._setting = setting

    async def discover_model(self) -> None:
        return None

    def body(self, messages: Sequence[Message], detail: Detail) -> Mapping[str, Any]:  # noqa: ARG002
        raise self._error()

    def answer(
        self,
        messages: Sequence[Message],  # noqa: ARG002
        detail: Detail,  # noqa: ARG002
        deadline: Deadline,  # noqa: ARG002
    ) -> AbstractAsyncContextManager[Stream]:
        raise self._error()

    async def complete(self, messages: Sequence[Message], detail: Detail, deadline: Deadline) -> Completion:
        async with self.answer(messages, detail, deadline):
            raise AssertionError("answer() raises")

    def chat(
        self,
        body: Mapping[str, Any],  # noqa: ARG002
        deadline: Deadline,  # noqa: ARG002
    ) -> ChatStream:
        raise self._error()

    async def check(self) -> None:
        raise self._error()

    async def close(self) -> None:
        return None

    def _error(self) -> NotConfigured:
        return NotConfigured(f"{self.name} is not set up: set {self._setting}")
