"""Backends over the stand-in, and over a server that says exactly what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from app.backends.base import BackendName
from app.backends.dialects import VLLM, openai_dialect
from app.backends.openai_style import OpenAIStyle
from app.contract.fingerprint import fingerprint
from app.deadline import Deadline

KEY = "sk-secret-abcdefghijklmnop"

Make = Callable[..., OpenAIStyle]


def soon(seconds: float = 20.0) -> Deadline:
    """A deadline that no test should come to, or one that it should."""
    return Deadline.after(seconds)


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes backends by name and address, closed afterwards; without jitter they retry at once."""
    made: list[OpenAIStyle] = []

    def build(name: BackendName, *urls: str, key: str = KEY, **options: Any) -> OpenAIStyle:
        if name == "mistral":
            options = {"made_for": fingerprint()} | options
            backend = OpenAIStyle(name, urls, VLLM, jitter=lambda: 0.0, **options)
        else:
            options = {"model": "gpt-4.1"} | options
            dialect = openai_dialect(options["model"])
            backend = OpenAIStyle(name, urls, dialect, key=SecretStr(key), jitter=lambda: 0.0, **options)
        made.append(backend)
        return backend

    yield build
    for backend in made:
        await backend.close()


class Scripted:
    """A server that sends one reply a connection and closes it; the last reply over and over."""

    def __init__(self, replies: Sequence[bytes]) -> None:
        self._replies = replies
        self.connections = 0
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reply = self._replies[min(self.connections, len(self._replies) - 1)]
        self.connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        writer.close()


Script = Callable[..., Awaitable[Scripted]]


@asynccontextmanager
async def _running(scripted: Scripted) -> AsyncIterator[Scripted]:
    server = await asyncio.start_server(scripted.answer, "127.0.0.1", 0)
    async with server:
        scripted.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield scripted


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    """Starts a scripted server: `await script(b"HTTP/1.1 ...", ...)`."""
    running = []

    async def start(*replies: bytes) -> Scripted:
        context = _running(Scripted(replies))
        running.append(context)
        return await context.__aenter__()

    yield start
    for context in running:
        await context.__aexit__(None, None, None)


def http(status: str, body: str, *headers: str, kind: str = "application/json") -> bytes:
    """A whole response."""
    head = [f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body.encode())}", *headers]
    return ("\r\n".join(head) + "\r\nconnection: close\r\n\r\n" + body).encode()


def sse(*events: str) -> bytes:
    """A whole event stream."""
    return http("200 OK", "".join(f"data: {event}\n\n" for event in events), kind="text/event-stream")
