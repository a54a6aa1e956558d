"""The protocols between the gateway and a model, behind which tests put doubles."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol, Self

from app.contract.completion import BackendName, Completion, Usage
from app.contract.prompt import Detail, Message
from app.deadline import Deadline

BreakerState = Literal["closed", "half_open", "open"]
BREAKER_STATES: tuple[BreakerState, ...] = ("closed", "half_open", "open")
"""Best first: a backend's state is the best of its servers' states."""


class Stream(Protocol):
    """A completion in progress: an iterator over non-empty pieces of text.

    The iteration raises all errors. An incomplete text raises `UnparsedAnswer` at its end.
    """

    def __aiter__(self) -> AsyncIterator[str]: ...

    async def __anext__(self) -> str: ...

    @property
    def usage(self) -> Usage:
        """The tokens used so far: none before the call is sent, all after the last piece."""
        ...

    @property
    def requested_model(self) -> str:
        """The model that the call named; empty before it is sent."""
        ...

    @property
    def attempts(self) -> int:
        """The number of requests sent to servers."""
        ...

    @property
    def sent_at(self) -> float:
        """When the latest attempt was sent, by `perf_counter`; 0 before."""
        ...

    @property
    def completion(self) -> Completion:
        """The whole completion, available after the last piece."""
        ...


class ChatStream(Protocol):
    """A forwarded chat completion: the response's status and headers, and an iterator over its bytes.

    Entering the context sends the call; leaving it before the end cancels the call.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def __anext__(self) -> bytes: ...

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def ended(self) -> bool:
        """Whether the last bytes hold the end marker, after which a client may disconnect."""
        ...

    @property
    def sent_at(self) -> float:
        """When the latest attempt was sent, by `perf_counter`; 0 before."""
        ...

    @property
    def usage(self) -> Usage | None:
        """The tokens used so far, also of a call that failed or was cancelled; None if it used none."""
        ...


class Backend(Protocol):
    """A model behind a name. Implementations raise only the errors of `app.errors`."""

    name: BackendName

    @property
    def model(self) -> str:
        """The model that calls name; empty until a server has reported it."""
        ...

    async def discover_model(self) -> None:
        """Ask the servers for their model if it is unknown. Raises nothing: the call reports the error."""
        ...

    def body(self, messages: Sequence[Message], detail: Detail) -> Mapping[str, Any]:
        """Return the request body of `answer`, which determines the completion."""
        ...

    def answer(
        self, messages: Sequence[Message], detail: Detail, deadline: Deadline
    ) -> AbstractAsyncContextManager[Stream]:
        """Return a stream at temperature 0 with the answer's schema enforced.

        The first iteration sends the call; leaving the context before the end cancels it upstream.
        """
        ...

    async def complete(self, messages: Sequence[Message], detail: Detail, deadline: Deadline) -> Completion:
        """Return the whole completion of `answer`."""
        ...

    def chat(self, body: Mapping[str, Any], deadline: Deadline) -> ChatStream:
        """Forward a chat completion to the served model, whatever model the body names."""
        ...

    @property
    def stand_in(self) -> bool | None:
        """Whether the servers are rule-based stand-ins; None until one has answered."""
        ...

    @property
    def breaker(self) -> BreakerState:
        """The state of the backend's circuit breaker."""
        ...

    async def check(self) -> None:
        """Raise `BackendUnavailable` with the reason if no request could be answered now."""
        ...

    async def close(self) -> None: ...
