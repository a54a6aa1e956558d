"""A server that streams two fixed answers, for `upstream_client.py`: what vLLM would send, without computing it.

python bench/streaming_stub.py SECONDS_PER_EVENT    # prints its port; 0: all events in one write
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

# The repository need not be installed.
import uvloop

from app.backends.dialects import VLLM
from app.contract import rule_based_analyst as rules
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import Detail, messages
from app.stand_in.protocol import parse_question, parse_request
from app.stand_in.replies import Reply
from app.stand_in.tokens import answer_tokens

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
MODELS = b'{"data":[{"id":"stub"}]}'


def chunks(detail: Detail) -> list[bytes]:
    """Return the stand-in's answer, one event in each HTTP chunk."""
    body = VLLM.request("stub", messages(EXAMPLE, "SNPS", detail), detail)
    request = parse_request(json.dumps(body).encode())
    _, lines = parse_question(request)
    reply = Reply(request, detail, answer_tokens(rules.answer_from(lines, detail)))
    return [b"%x\r\n%s\r\n" % (len(event), event.encode()) for event in reply.events()] + [b"0\r\n\r\n"]


class Stub(asyncio.Protocol):
    """Distinguishes brief from full requests by the token limit, and reads nothing else."""

    def __init__(self, brief: Sequence[bytes], full: Sequence[bytes], pace_s: float) -> None:
        self._brief, self._full, self._pace_s = brief, full, pace_s
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        if head.startswith(b"GET"):
            self._received = b""
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(MODELS), MODELS))
        elif len(body) >= int(head.lower().partition(b"content-length:")[2].split()[0]):
            self._received = b""
            self._answer(self._full if json.loads(body)["max_tokens"] > 100 else self._brief)

    def _answer(self, answer: Sequence[bytes]) -> None:
        if self._pace_s:
            self._task = asyncio.ensure_future(self._dole_out(answer))
        else:
            self._transport.write(HEAD + b"".join(answer))

    async def _dole_out(self, answer: Sequence[bytes]) -> None:
        self._transport.write(HEAD)
        for chunk in answer:
            await asyncio.sleep(self._pace_s)
            self._transport.write(chunk)


async def main(pace_s: float) -> None:
    brief, full = chunks("brief"), chunks("full")
    server = await asyncio.get_running_loop().create_server(lambda: Stub(brief, full, pace_s), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(float(sys.argv[1])))
