"""HAProxy with the committed configuration, before gateways that are a few lines each."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from deploy.loadtest import settings
from tests.test_main import free_port

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
pytestmark = pytest.mark.skipif(
    HAPROXY is None, reason="haproxy is not installed (Debian: apt-get install --no-install-recommends haproxy)"
)
SOON_S = 30.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class Gateway:
    """A server that is ready or not; it answers other requests with a stream, one piece for each `go`."""

    ready: bool = True
    asked: int = 0
    left: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    pieces: int = 2
    silent: bool = False
    """It sends nothing before the first release."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/health/ready" in head:
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % (200 if self.ready else 503))
        else:
            self.asked += 1
            await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone = asyncio.create_task(reader.read())
        for number in range(self.pieces):
            if not self.silent:
                writer.write((HEAD if number == 0 else b"") + b"7\r\ndata: %d\r\n" % number)
            going = asyncio.create_task(self.go_on.acquire())
            await asyncio.wait((going, gone), return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                self.left.set()
                return
        writer.write((HEAD if self.pieces == 0 else b"") + b"0\r\n\r\n")


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    yield free_port()


@asynccontextmanager
async def balanced(folder: Path, port: int, gateways: list[Gateway]) -> AsyncIterator[httpx.AsyncClient]:
    """Yields once as many gateways as are ready are asked."""
    servers = [await asyncio.start_server(gateway.serve, "127.0.0.1", 0) for gateway in gateways]
    ports = [server.sockets[0].getsockname()[1] for server in servers] + [free_port()] * (3 - len(servers))
    program = settings.haproxy(str(HAPROXY), folder, port, ports)
    process = subprocess.Popen(  # noqa: ASYNC220 - takes milliseconds
        program.command, env=dict(program.environment), stdout=subprocess.DEVNULL
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=SOON_S, trust_env=False) as client:
            await listening(client)
            yield client
    finally:
        process.kill()
        process.wait()
        for server in servers:
            server.close()


async def listening(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(SOON_S):
        while True:
            try:
                await client.get("/health/ready")
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return


async def status(client: httpx.AsyncClient, wanted: int) -> httpx.Response:
    """The first answer of that status."""
    async with asyncio.timeout(SOON_S):
        while (answer := await client.get("/stream")).status_code != wanted:  # noqa: ASYNC110 - no event of ours
            await asyncio.sleep(0.05)
    return answer


async def test_pieces_are_forwarded_without_buffering(tmp_path: Path, port: int) -> None:
    gateway = Gateway()
    async with balanced(tmp_path, port, [gateway]) as client, client.stream("GET", "/stream") as response:
        pieces = response.aiter_bytes()
        assert await anext(pieces) == b"data: 0"  # the server still waits before the next piece
        gateway.go_on.release()
        assert await anext(pieces) == b"data: 1"
        gateway.go_on.release()
        assert [piece async for piece in pieces] == []
        assert response.headers["x-served-by"] == "gateway-1"


@pytest.mark.parametrize("silent", [False, True], ids=["in mid-stream", "before the answer"])
async def test_a_disconnect_reaches_the_gateway(silent: bool, tmp_path: Path, port: int) -> None:
    gateway = Gateway(silent=silent)
    async with balanced(tmp_path, port, [gateway]) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/stream", timeout=0.5)
        assert gateway.asked == 1
        async with asyncio.timeout(SOON_S):
            await gateway.left.wait()


async def test_unready_gateways_get_no_requests_and_without_any_the_answer_is_a_problem(
    tmp_path: Path, port: int
) -> None:
    one, other = Gateway(pieces=0), Gateway(pieces=0)
    async with balanced(tmp_path, port, [one, other]) as client:
        one.ready = False
        async with asyncio.timeout(SOON_S):
            while True:  # until it has been noticed
                one.asked = other.asked = 0
                assert [(await client.get("/stream")).status_code for _ in range(6)] == [200] * 6
                if one.asked == 0:
                    break
                await asyncio.sleep(0.2)
        other.ready = False
        refused = await status(client, 503)
        assert refused.headers["content-type"] == "application/problem+json"
        assert (refused.json()["status"], refused.headers["retry-after"]) == (503, "1")
        one.ready = True
        await status(client, 200)


async def test_an_unsent_request_is_retried_on_another_gateway(tmp_path: Path, port: int) -> None:
    """Two of three gateways are down; the third answers every request."""
    gateway = Gateway(pieces=0)
    async with balanced(tmp_path, port, [gateway]) as client:
        assert [(await client.get("/stream")).status_code for _ in range(12)] == [200] * 12
    assert gateway.asked == 12
