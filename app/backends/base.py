"""The swap point: what the gateway asks of a backend, and what a backend gives back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from app.contract.completion import BackendName, Completion, Usage
from app.contract.prompt import Detail, Message
from app.deadline import Deadline

BreakerState = Literal["closed", "half_open", "open"]
BREAKER_STATES: tuple[BreakerState, ...] = ("closed", "half_open", "open")
"""Whether calls go through: all, one to try, none. In this order, the best of several servers is a backend's."""


class Stream(Protocol):
    """An answer as it is written: pieces of text as they come, none of them empty.

    What goes wrong is raised by the iteration, at its end too: a text that is no whole answer is
    `UnparsedAnswer` there, never a completion.
    """

    def __aiter__(self) -> AsyncIterator[str]: ...

    async def __anext__(self) -> str: ...

    @property
    def usage(self) -> Usage:
        """What has been used so far, at any time: nothing before the call is sent, all of it at the end."""
        ...

    @property
    def asked(self) -> str:
        """The model that the call asked for; empty before it is sent."""
        ...

    @property
    def completion(self) -> Completion:
        """The whole of it, once the iteration has ended."""
        ...


class ChatStream(Protocol):
    """A chat completion passed through: status and headers of the answer, then its bytes as they come.

    It is the context of its call, which is sent when it is entered, and cancelled where it is left before the end.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def __anext__(self) -> bytes: ...

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def ended(self) -> bool:
        """Whether what was given last says that this is all, so that whoever reads it may leave."""
        ...

    @property
    def usage(self) -> Usage | None:
        """What has been used so far, also where the call could not be entered or was left; None where nothing was,
        as of a request that was refused."""
        ...


class Backend(Protocol):
    """A model behind a name. Implementations raise the errors of `app.errors` only."""

    name: BackendName

    @property
    def model(self) -> str:
        """What is asked for; empty while only a server could say."""
        ...

    async def identify(self) -> None:
        """Have a server say, if none has yet. Raises nothing: why none does is the call's to tell."""
        ...

    def body(self, messages: Sequence[Message], detail: Detail) -> Mapping[str, Any]:
        """What `answer` asks for: all that the answer depends on."""
        ...

    def answer(
        self, messages: Sequence[Message], detail: Detail, deadline: Deadline
    ) -> AbstractAsyncContextManager[Stream]:
        """Ask at temperature 0, with the answer's schema enforced. The call is sent by the first iteration;
        leaving the context before its end cancels it upstream at once."""
        ...

    async def complete(self, messages: Sequence[Message], detail: Detail, deadline: Deadline) -> Completion:
        """`answer`, read to its end."""
        ...

    def chat(self, body: Mapping[str, Any], deadline: Deadline) -> ChatStream:
        """Pass a chat completion through, asked of the model that is served, whatever model the body names."""
        ...

    @property
    def stand_in(self) -> bool | None:
        """Whether its servers are a rule-based stand-in; None while none has been asked."""
        ...

    @property
    def breaker(self) -> BreakerState:
        """Whether calls are let through to the servers behind the name."""
        ...

    async def check(self) -> None:
        """Return if a request could be answered now, else raise `BackendUnavailable` saying why."""
        ...

    async def close(self) -> None: ...
