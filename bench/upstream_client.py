"""CPU time a model call: the gateway's own client compared with the openai package, for the same work.

python bench/upstream_client.py [--rounds N]

A server in a separate process streams what vLLM would: an event a token, each with twenty alternatives. Every
client reads the text, the usage and the action's probabilities. "burst": no delay between events; "paced": an event
every 2 ms to each of 8 callers. Rounds are interleaved; the median of each client is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

# The repository need not be installed.
import uvloop  # noqa: E402
from openai import AsyncOpenAI, AsyncStream, DefaultAioHttpClient  # noqa: E402
from pydantic import BaseModel  # noqa: E402

from app.backends.dialects import VLLM  # noqa: E402
from app.backends.openai_compatible import OpenAICompatibleBackend  # noqa: E402
from app.contract import rule_based_analyst as rules  # noqa: E402
from app.contract.fingerprint import EXAMPLE  # noqa: E402
from app.contract.probabilities import Token, label_probabilities  # noqa: E402
from app.contract.prompt import Detail, messages  # noqa: E402
from app.deadline import Deadline  # noqa: E402
from app.stand_in.protocol import parse_question, parse_request  # noqa: E402
from app.stand_in.replies import Reply  # noqa: E402
from app.stand_in.tokens import answer_tokens  # noqa: E402
from bench.gateway.upstream import upstream  # noqa: E402

CALLERS = 8
PACES = {"burst": 0.0, "paced": 2.0}
"""Milliseconds between events."""
CALLS: Mapping[tuple[str, Detail], int] = {
    ("burst", "brief"): 160,
    ("burst", "full"): 24,
    ("paced", "brief"): 80,
    ("paced", "full"): 16,
}
Ask = Callable[[Detail], Awaitable[None]]


class Logprobs(BaseModel):
    content: list[Token] | None = None


class Choice(BaseModel):
    class Delta(BaseModel):
        content: str | None = None

    delta: Delta
    logprobs: Logprobs | None = None


class Event(BaseModel):
    choices: list[Choice]
    usage: dict[str, Any] | None = None


def body(detail: Detail) -> dict[str, Any]:
    return VLLM.request("stub", messages(EXAMPLE, "SNPS", detail), detail)


def read(events: Sequence[Any]) -> None:
    """The result that every client returns."""
    choices = [choice for event in events for choice in event.choices]
    tokens = [
        Token.model_validate(token, from_attributes=True)
        for choice in choices
        if choice.logprobs
        for token in choice.logprobs.content or ()
    ]
    assert "".join(choice.delta.content or "" for choice in choices).startswith("{")
    assert any(event.usage for event in events)
    assert label_probabilities(tokens)


@asynccontextmanager
async def package(url: str) -> AsyncIterator[Ask]:
    """The openai package over aiohttp, as in its documentation."""
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0, http_client=DefaultAioHttpClient()) as client:

        async def ask(detail: Detail) -> None:
            stream = await client.chat.completions.create(**body(detail))
            read([event async for event in stream])

        yield ask


@asynccontextmanager
async def package_untyped(url: str) -> AsyncIterator[Ask]:
    """The same with untyped events, parsed by small models."""
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0, http_client=DefaultAioHttpClient()) as client:

        async def ask(detail: Detail) -> None:
            stream = await client.post(
                "/chat/completions", body=body(detail), cast_to=object, stream=True, stream_cls=AsyncStream[object]
            )
            read([Event.model_validate(event) async for event in stream])

        yield ask


@asynccontextmanager
async def own(url: str) -> AsyncIterator[Ask]:
    """The gateway's client."""
    backend = OpenAICompatibleBackend("mistral", [url], VLLM)

    async def ask(detail: Detail) -> None:
        completion = await backend.complete(messages(EXAMPLE, "SNPS", detail), detail, Deadline.after(60))
        assert completion.probabilities

    yield ask
    await backend.close()


CLIENTS = {"openai package": package, "openai, untyped": package_untyped, "own, aiohttp": own}


async def cpu_us(ask: Ask, detail: Detail, calls: int) -> float:
    """Return the CPU microseconds a call, at a concurrency."""

    async def caller(times: int) -> None:
        for _ in range(times):
            await ask(detail)

    began = process_time()
    await asyncio.gather(*(caller(calls // CALLERS) for _ in range(CALLERS)))
    return 1e6 * (process_time() - began) / calls


def script(folder: Path, detail: Detail) -> Path:
    """Write the question and the stand-in's answer for the upstream."""
    asked = body(detail)
    request = parse_request(json.dumps(asked).encode())
    _, lines = parse_question(request)
    reply = Reply(request, detail, answer_tokens(rules.answer_from(lines, detail)))
    events = [event.rstrip() for event in reply.events()]
    fixed = {"model": asked["model"], "key": "", "content": asked["messages"][0]["content"], "answer": ""}
    path = folder / f"{detail}.json"
    path.write_text(json.dumps({**fixed, "events": events}))
    return path


@contextmanager
def server(detail: Detail, gap_ms: float) -> Iterator[str]:
    """Start a server that streams the answer; yield its address."""
    cores = sorted(os.sched_getaffinity(0))
    with TemporaryDirectory() as folder, upstream(script(Path(folder), detail), cores) as running:
        running.pace(gap_ms, gap_ms)
        yield f"{running.url}/v1"


async def compare(pace: str, detail: Detail, url: str, rounds: int) -> None:
    taken: dict[str, list[float]] = {name: [] for name in CLIENTS}
    for _ in range(rounds):
        for name, client in CLIENTS.items():
            async with client(url) as ask:
                await ask(detail)
                taken[name].append(await cpu_us(ask, detail, CALLS[pace, detail]))
    figures = "   ".join(f"{name} {median(times):7.0f}" for name, times in taken.items())
    print(f"{pace:<6}{detail:<6} CPU us a call   {figures}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for pace, detail in CALLS:
        with server(detail, PACES[pace]) as url:
            uvloop.run(compare(pace, detail, url, options.rounds))


if __name__ == "__main__":
    main()
