"""An OpenAI-style server with one scripted answer, which refuses every request but the one it expects.

python bench/gateway/upstream_server.py SCRIPT

SCRIPT is a JSON file: `model`, `key` (empty: none is needed), `content` of the one user message, the `answer`, and the
same as `events`. Eight # in them become a serial number, copied from the request into its answer. The first line
printed is the port. GET /stats counts chat completions; POST /pace?first_ms=N&gap_ms=N sets the time before the first
event (or the answer) and between events.

asyncio's own event loop serves it: uvloop's clock advances in whole milliseconds, so that the time to the first token
would depend on when in a millisecond a request arrives.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SERIAL = "########"
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
PACE = re.compile(rb"POST /pace\?first_ms=([\d.]+)&gap_ms=([\d.]+) ")
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class Counts:
    """Chat completions since the start. `reason` describes the last invalid one."""

    requests: int = 0
    invalid: int = 0
    aborted: int = 0
    answered: int = 0
    reason: str = ""


class Script:
    """The expected request and its answer in pieces, shared by all connections."""

    def __init__(self, script: dict[str, Any]) -> None:
        self.model: str = script["model"]
        self.authorization = f"authorization: bearer {script['key']}\r\n".lower().encode() if script["key"] else b""
        before, _, after = script["content"].partition(SERIAL)
        self.content = re.compile(re.escape(before) + (rf"(\d{{8}}){re.escape(after)}" if after else "()"))
        self.answer = [whole("200 OK", script["answer"])]
        self.events = [b"%x\r\n%s\r\n" % (len(event) + 2, event.encode() + b"\n\n") for event in script["events"]]
        self.events[0] = STREAM + self.events[0]
        self.events[-1] += b"0\r\n\r\n"
        self.first_s = self.gap_s = 0.0
        self.counts = Counts()

    def fault(self, head: bytes, body: bytes) -> str | tuple[bool, bytes]:
        """Return what is wrong with a request, or else whether it wants a stream, and its serial number."""
        if self.authorization not in head.lower() + b"\r\n":
            return "the key is not the upstream's"
        try:
            request = json.loads(body)
        except ValueError:
            return "the body is not JSON"
        if request["model"] != self.model:
            return "the model is not the one served"
        if [message["role"] for message in request["messages"]] != ["user"]:
            return "there is not one message, the user's"
        found = self.content.fullmatch(request["messages"][0]["content"])
        return (bool(request.get("stream")), found[1].encode()) if found else "the message is not the one expected"


class Connection(asyncio.Protocol):
    """One connection. A further request waits until the answer before it is complete."""

    def __init__(self, script: Script) -> None:
        self._script, self._received = script, b""
        self._left: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio names it
        self._script.counts.aborted += bool(self._left)
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        while not self._left:
            head, blank, rest = self._received.partition(b"\r\n\r\n")
            length = LENGTH.search(head)
            size = int(length[1]) if length else 0
            if not blank or len(rest) < size:
                return
            self._received = rest[size:]
            self._respond(head, rest[:size])

    def _respond(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"POST /v1/chat/completions "):
            self._complete(head, body)
            return
        if pace := PACE.match(head):
            self._script.first_s, self._script.gap_s = (float(value) / 1000 for value in pace.groups())
        document: Any = {"object": "list", "data": [{"id": self._script.model, "object": "model"}]}
        if head.startswith(b"GET /stats "):
            document = asdict(self._script.counts)
        self._transport.write(whole("200 OK", json.dumps(document)))

    def _complete(self, head: bytes, body: bytes) -> None:
        script, counts = self._script, self._script.counts
        counts.requests += 1
        wanted = script.fault(head, body)
        if isinstance(wanted, str):
            counts.invalid, counts.reason = counts.invalid + 1, wanted
            self._transport.write(whole("400 Bad Request", '{"error": {"message": "invalid"}}'))
            return
        stream, serial = wanted
        pieces = script.events if stream else script.answer
        if not script.gap_s:
            pieces = [b"".join(pieces)]
        self._left = [piece.replace(SERIAL.encode(), serial) for piece in reversed(pieces)]
        self._speak(asyncio.get_running_loop().time() + script.first_s if script.first_s else 0.0)

    def _speak(self, due: float) -> None:
        """Write the pieces that are due."""
        loop = asyncio.get_running_loop()
        while self._left and due <= loop.time():
            self._transport.write(self._left.pop())
            due += self._script.gap_s
        if self._left:
            self._timer = loop.call_at(due, self._speak, due)
            return
        self._script.counts.answered += 1
        if self._received:
            self.data_received(b"")


def whole(status: str, body: str) -> bytes:
    """Return an HTTP response."""
    return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


async def main(script: Script) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Connection(script), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Script(json.loads(Path(sys.argv[1]).read_text()))))
