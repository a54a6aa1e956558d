"""Backends over the stand-in, and over a server with scripted replies."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from pydantic import SecretStr

from app.backends.dialects import VLLM, openai_dialect
from app.backends.openai_compatible import OpenAICompatibleBackend
from app.contract.completion import BackendName
from app.contract.fingerprint import fingerprint
from app.deadline import Deadline

KEY = "sk-secret-abcdefghijklmnop"

Make = Callable[..., OpenAICompatibleBackend]


def soon(seconds: float = 20.0) -> Deadline:
    """Return a deadline, by default one that no test should reach."""
    return Deadline.after(seconds)


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Build backends by name and address, and close them afterwards; without jitter, retries are immediate."""
    built: list[OpenAICompatibleBackend] = []

    def build(name: BackendName, *urls: str, key: str = KEY, **options: Any) -> OpenAICompatibleBackend:
        options = {"jitter": lambda: 0.0} | options
        if name == "mistral":
            backend = OpenAICompatibleBackend(name, urls, VLLM, **{"fingerprint": fingerprint()} | options)
        else:
            options = {"model": "gpt-4.1", "key": SecretStr(key)} | options
            backend = OpenAICompatibleBackend(name, urls, openai_dialect(options["model"]), **options)
        built.append(backend)
        return backend

    yield build
    for backend in built:
        await backend.close()


Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Scripted:
    """A server with one reply per connection, the last of which repeats.

    A reply is bytes to send after a request, or a function.
    """

    def __init__(self, replies: Sequence[bytes | Act]) -> None:
        self._replies = replies
        self.connections = 0
        self.requests: list[bytes] = []
        self.url = ""
        self.asked = asyncio.Semaphore(0)
        """Released by each request."""
        self.left = asyncio.Event()
        """Set when a client disconnects while a reply function runs."""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reply = self._replies[min(self.connections, len(self._replies) - 1)]
        self.connections += 1
        self.requests.append(await read_request(reader))
        self.asked.release()
        if isinstance(reply, bytes):
            writer.write(reply)
            await writer.drain()
        else:
            act = asyncio.create_task(reply(reader, writer))
            with suppress(ConnectionError):
                await reader.read()
            if not act.done():
                self.left.set()
                act.cancel()
        writer.close()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Return a request's body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    return await reader.readexactly(int(length[1])) if length else b""


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send nothing."""
    await asyncio.sleep(60)


def dripping(reply: bytes, pause_s: float = 0.02, size: int = 8) -> Act:
    """Send a reply a few bytes at a time, and keep the connection open."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(reply), size):
            writer.write(reply[start : start + size])
            await asyncio.sleep(pause_s)
        await asyncio.sleep(60)

    return act


Script = Callable[..., Awaitable[Scripted]]


@asynccontextmanager
async def _running(scripted: Scripted) -> AsyncIterator[Scripted]:
    server = await asyncio.start_server(scripted.answer, "127.0.0.1", 0)
    async with server:
        scripted.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield scripted


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    """Start a scripted server: `await script(b"HTTP/1.1 ...", silent, ...)`."""
    running = []

    async def start(*replies: bytes | Act) -> Scripted:
        context = _running(Scripted(replies))
        running.append(context)
        return await context.__aenter__()

    yield start
    for context in running:
        await context.__aexit__(None, None, None)


def http(status: str, body: str, *headers: str, kind: str = "application/json") -> bytes:
    """Return a whole response."""
    head = [f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body.encode())}", *headers]
    return ("\r\n".join(head) + "\r\nconnection: close\r\n\r\n" + body).encode()


def sse(*events: str) -> bytes:
    """Return a whole event stream."""
    return http("200 OK", events_of(*events), kind="text/event-stream")


def begun(*events: str) -> bytes:
    """Return the start of an event stream of unknown length."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + events_of(*events).encode()


def events_of(*events: str) -> str:
    return "".join(f"data: {event}\n\n" for event in events)


def said(text: str, finish: str | None = None) -> str:
    """Return an event with text."""
    return json.dumps({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]})


def used(prompt: int, completion: int) -> str:
    """Return the event with the usage alone."""
    return json.dumps({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}})
