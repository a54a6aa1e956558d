"""Asking until an answer is one: once more where nobody has heard anything, and all of it counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from app.backends.upstream import open_upstream
from app.completions.retry import MOST, Attempts
from app.completions.single_flight import InFlightCall
from app.contract.completion import Usage
from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import messages
from app.contract.recommendation import Answer
from app.deadline import Deadline
from app.errors import BackendError, UnparsedAnswer
from app.settings.gateway import Settings
from app.telemetry.metrics import Collectors
from tests.doubles import HEARD, USAGE, Broken, CountingBackend, Said, completion

PROMPT = messages(EXAMPLE, "SNPS", "brief")
BUY = '{"action":"buy","conviction":7}'
NONSENSE = "I would rather hold."


class Trial:
    """Attempts under way in a flight of their own."""

    def __init__(self, script: Sequence[Said]) -> None:
        self.backend = CountingBackend("mistral", list(script))
        self.collectors = Collectors()
        self.upstream = open_upstream(self.backend, None, Settings(), self.collectors)
        self.flight: InFlightCall[Answer] = InFlightCall(self._work, self._nobody)

    async def answer(self) -> Answer:
        return await self.flight.result()

    @property
    def unparsed(self) -> float | None:
        return self.collectors.registry.get_sample_value("conviction_unparsed_attempts_total", {"backend": "mistral"})

    async def _work(self, flight: InFlightCall[Answer]) -> Answer:
        self.attempts = Attempts(self.upstream, "brief", flight, Deadline.after(20))
        answer, self.made = await self.attempts.answer(PROMPT)
        return answer

    async def _nobody(self) -> None:
        return None


@asynccontextmanager
async def listening(flight: InFlightCall[Answer]) -> AsyncIterator[list[str]]:
    heard: list[str] = []

    async def listen() -> None:
        async with flight.joined():
            heard.extend([text async for text in flight.texts()])

    listener = asyncio.create_task(listen())
    yield heard
    await asyncio.wait((listener,))


async def test_a_valid_answer_is_asked_for_once() -> None:
    trial = Trial([completion(BUY)])
    assert (await trial.answer()).action == "buy"
    assert (len(trial.backend.asked), trial.attempts.usage, trial.unparsed) == (1, USAGE, 0)
    assert trial.made.text == BUY


@pytest.mark.parametrize("first", [completion(NONSENSE), UnparsedAnswer("declined")])
async def test_what_is_none_is_asked_for_again_and_both_are_counted(first: Said) -> None:
    trial = Trial([first, completion(BUY)])
    assert (await trial.answer()).action == "buy"
    assert trial.attempts.usage == Usage(800, 22, 200)
    assert trial.unparsed == 1
    assert "".join(trial.flight.told) == BUY


async def test_no_more_often_than_that() -> None:
    trial = Trial([completion(NONSENSE)] * MOST + [completion(BUY)])
    with pytest.raises(UnparsedAnswer, match="mistral gave no valid answer"):
        await trial.answer()
    assert (len(trial.backend.asked), trial.unparsed) == (MOST, MOST)


async def test_what_somebody_has_heard_cannot_be_taken_back() -> None:
    trial = Trial([completion(NONSENSE), completion(BUY)])
    trial.backend.go = asyncio.Event()
    async with listening(trial.flight) as heard:
        await trial.backend.began(1)
        await asyncio.sleep(0.01)
        trial.backend.go.set()
        with pytest.raises(UnparsedAnswer):
            await trial.answer()
    assert ("".join(heard), len(trial.backend.asked)) == (NONSENSE, 1)


async def test_a_failure_is_not_asked_again_and_what_it_used_is_counted() -> None:
    trial = Trial([Broken(BUY, BackendError("broke off"), Usage(400, 3)), completion(BUY)])
    with pytest.raises(BackendError, match="broke off"):
        await trial.answer()
    assert (len(trial.backend.asked), trial.attempts.usage) == (1, Usage(400, 3))


async def test_what_a_call_has_used_that_is_given_up_is_counted() -> None:
    trial = Trial([completion(BUY)])
    trial.backend.go = asyncio.Event()
    await trial.backend.began(1)
    trial.flight._task.cancel()
    await asyncio.wait((trial.flight._task,))
    assert trial.backend.streams[0].left.is_set()
    assert trial.attempts.usage == HEARD
    assert trial.attempts.waited_s > 0
