"""Retries of invalid answers, if no waiter has received text, and the usage of all attempts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from app.backends.upstream import open_upstream
from app.completions.retry import MAX_ATTEMPTS, Attempts
from app.completions.single_flight import InFlightCall
from app.contract.completion import Usage
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import messages
from app.contract.recommendation import Answer
from app.deadline import Deadline
from app.errors import BackendError, UnparsedAnswer
from app.settings.gateway import Settings
from app.telemetry.metrics import Collectors
from tests.doubles import PARTIAL_USAGE, USAGE, Broken, CountingBackend, ModelReply, completion

PROMPT = messages(EXAMPLE, "SNPS", "brief")
BUY = '{"action":"buy","conviction":7}'
NONSENSE = "I would rather hold."


class Trial:
    """Attempts in an in-flight call."""

    def __init__(self, script: Sequence[ModelReply]) -> None:
        self.backend = CountingBackend("mistral", list(script))
        self.collectors = Collectors()
        self.upstream = open_upstream(self.backend, None, Settings(), self.collectors)
        self.call: InFlightCall[Answer] = InFlightCall(self._work, self._unfollowed)

    async def answer(self) -> Answer:
        return await self.call.result()

    @property
    def unparsed(self) -> float | None:
        return self.collectors.registry.get_sample_value("conviction_unparsed_attempts_total", {"backend": "mistral"})

    async def _work(self, call: InFlightCall[Answer]) -> Answer:
        self.attempts = Attempts(self.upstream, "brief", call, Deadline.after(20))
        answer, self.completion = await self.attempts.answer(PROMPT)
        return answer

    async def _unfollowed(self) -> None:
        return None


@asynccontextmanager
async def listening(call: InFlightCall[Answer]) -> AsyncIterator[list[str]]:
    received: list[str] = []

    async def listen() -> None:
        async with call.join():
            received.extend([text async for text in call.texts()])

    listener = asyncio.create_task(listen())
    yield received
    await asyncio.wait((listener,))


async def test_a_valid_answer_takes_one_attempt() -> None:
    trial = Trial([completion(BUY)])
    assert (await trial.answer()).action == "buy"
    assert (len(trial.backend.asked), trial.attempts.usage, trial.unparsed) == (1, USAGE, 0)
    assert trial.completion.text == BUY
    assert (trial.attempts.requests, trial.attempts.queued_s < 1) == (1, True)


@pytest.mark.parametrize("first", [completion(NONSENSE), Broken("", UnparsedAnswer("declined"), USAGE)])
async def test_an_invalid_answer_is_retried_and_both_attempts_count(first: ModelReply) -> None:
    trial = Trial([first, completion(BUY)])
    assert (await trial.answer()).action == "buy"
    assert trial.attempts.usage == Usage(800, 22, 200)
    assert trial.attempts.requests == 2
    assert trial.unparsed == 1
    assert "".join(trial.call.pieces) == BUY


async def test_attempts_are_limited() -> None:
    trial = Trial([completion(NONSENSE)] * MAX_ATTEMPTS + [completion(BUY)])
    with pytest.raises(UnparsedAnswer, match="mistral gave no valid answer"):
        await trial.answer()
    assert (len(trial.backend.asked), trial.unparsed) == (MAX_ATTEMPTS, MAX_ATTEMPTS)


async def test_delivered_text_prevents_a_retry() -> None:
    trial = Trial([completion(NONSENSE), completion(BUY)])
    trial.backend.go = asyncio.Event()
    async with listening(trial.call) as received:
        await trial.backend.began(1)
        await asyncio.sleep(0.01)
        trial.backend.go.set()
        with pytest.raises(UnparsedAnswer):
            await trial.answer()
    assert ("".join(received), len(trial.backend.asked)) == (NONSENSE, 1)


async def test_a_failure_is_not_retried_and_its_usage_counts() -> None:
    trial = Trial([Broken(BUY, BackendError("broke off"), Usage(400, 3)), completion(BUY)])
    with pytest.raises(BackendError, match="broke off"):
        await trial.answer()
    assert (len(trial.backend.asked), trial.attempts.usage) == (1, Usage(400, 3))


async def test_the_usage_of_a_cancelled_call_counts() -> None:
    trial = Trial([completion(BUY)])
    trial.backend.go = asyncio.Event()
    await trial.backend.began(1)
    trial.call._task.cancel()
    await asyncio.wait((trial.call._task,))
    assert trial.backend.streams[0].left.is_set()
    assert trial.attempts.usage == PARTIAL_USAGE
    assert trial.attempts.waited_s > 0
